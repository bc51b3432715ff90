//! Where the servers of this package listen.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use socket2::{Domain, Socket, Type};

/// Connections that may wait to be accepted; the system may allow fewer. A thousand that come at
/// once are more than the standard library would let wait, and those turned away come back after a
/// second.
const QUEUE: i32 = 4096;

/// Listens on a free port of the loopback, for an event loop.
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
