//! nginx with the configuration that we ship, in front of the test's nodes.

use std::{fs, net::SocketAddr, path::Path, process::Child};

use crate::support::{DEADLINE, Http, Node, TestEnv, eventually, free_addr, guarded};

/// Debian's path is not in everybody's PATH.
fn program() -> &'static str {
    let debian = "/usr/sbin/nginx";
    if Path::new(debian).exists() { debian } else { "nginx" }
}

/// One nginx; dies with the test.
pub struct Balancer {
    child: Child,
    addr: SocketAddr,
}

impl Balancer {
    /// Starts nginx in front of two nodes and waits until it answers.
    pub async fn start(env: &TestEnv, nodes: &[Node]) -> Self {
        Self::start_with(env, nodes, &[]).await
    }

    /// The same with some lines of the configuration replaced; the lines must exist.
    pub async fn start_with(env: &TestEnv, nodes: &[Node], changes: &[(&str, &str)]) -> Self {
        let addr = free_addr();
        let folder = env.fresh_path("nginx");
        fs::create_dir(&folder).unwrap();
        let temporary = |kind: &str| format!("{kind}_temp_path {};", folder.join(kind).display());
        let kinds = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let mut config = include_str!("../../deploy/nginx.conf").to_owned();
        for (line, other) in changes {
            assert!(config.contains(line), "no {line}");
            config = config.replace(line, other);
        }
        let config = config
            .replace("node-a:8080", &nodes[0].addr().to_string())
            .replace("node-b:8080", &nodes[1].addr().to_string())
            .replace("listen 8080;", &format!("listen {addr};"))
            .replace(
                "access_log off;",
                &format!("access_log off;\n{}", kinds.map(temporary).join("\n")),
            );
        let file = folder.join("nginx.conf");
        fs::write(&file, config).unwrap();
        let pid = folder.join("pid");
        let child = guarded(program())
            .args(["-p", folder.to_str().unwrap(), "-c", file.to_str().unwrap()])
            .args(["-e", folder.join("error.log").to_str().unwrap()])
            .args(["-g", &format!("daemon off; pid {};", pid.display())])
            .spawn()
            .unwrap();
        let balancer = Self { child, addr };
        eventually(DEADLINE, "nginx answers", async || {
            tokio::net::TcpStream::connect(addr).await.ok()
        })
        .await;
        balancer
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn http(&self) -> Http {
        Http::new(self.addr)
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        // On SIGTERM the master ends its workers too, unlike after SIGKILL.
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.child.wait();
    }
}
