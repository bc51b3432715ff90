//! Listening sockets of the servers in this package.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// Length of the accept queue; the system may allow less. A thousand simultaneous connections
/// exceed the standard library's queue, and a rejected one retries only after a second.
const QUEUE: i32 = 4096;

/// Listens on a free port of the loopback address, for an event loop.
///
/// # Errors
/// The system refuses a socket.
pub fn on_loopback() -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())?;
    socket.listen(QUEUE)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
