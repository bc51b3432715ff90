//! `linkroom health`: asks a node whether it should get traffic. For health checks in images without
//! `curl`. Knows nothing about the inside of a node.

use std::{
    ffi::OsString,
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    process::ExitCode,
    time::Duration,
};

use anyhow::{bail, ensure};
use axum::http::{Request, StatusCode, header};
use clap::Parser;
use http_body_util::Full;
use serde_json::Value;
use tokio::runtime::Builder;

use crate::{
    origin::Origin,
    outbound::{Answer, HttpClient, USER_AGENT},
    settings::{Settings, public_url},
};

/// The argument that selects this command instead of a node.
pub const ARGUMENT: &str = "health";

/// How long a node may take to answer. Shorter than the usual timeout of health checks, so that
/// their log has the reason.
const PATIENCE: Duration = Duration::from_secs(2);

/// Asks a node whether it should get traffic, prints its answer in one line, and exits with 0 if it
/// should, else with 1.
///
/// Without --url, it asks the node on this machine, at the LISTEN_ADDR of the environment.
#[derive(Debug, Parser)]
#[command(name = "linkroom health", max_term_width = 100)]
struct Options {
    /// Ask only whether the process lives (/healthz), not whether it is ready (/readyz)
    #[arg(long)]
    live: bool,

    /// Address of a node or a balancer, such as https://rooms.example
    #[arg(long, value_parser = public_url)]
    url: Option<Origin>,
}

/// Runs it with these arguments.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let name = OsString::from("linkroom health");
    let options = match Options::try_parse_from(std::iter::once(name).chain(args)) {
        Ok(options) => options,
        Err(text) => {
            let is_failure = text.use_stderr();
            // Not clap's own status 2: Docker reserves it.
            return status(text.print().is_ok() && !is_failure);
        }
    };
    let (line, is_well) = match check(&options) {
        Ok(line) => (line, true),
        Err(error) => (format!("{error:#}"), false),
    };
    status(writeln!(io::stdout(), "{line}").is_ok() && is_well)
}

fn status(is_well: bool) -> ExitCode {
    if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Asks the node, and returns the line to print.
fn check(options: &Options) -> anyhow::Result<String> {
    let path = if options.live { "healthz" } else { "readyz" };
    let bases = match &options.url {
        Some(url) => vec![url.to_string()],
        None => on_this_machine(Settings::from_environment()?.listen_addr)?,
    };
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let client = HttpClient::new(true);
    let mut silences = Vec::new();
    for base in bases {
        let url = format!("{base}/{path}");
        let request = Request::get(&url).header(header::USER_AGENT, USER_AGENT);
        let answered = client.send(request.body(Full::default())?, PATIENCE);
        match runtime.block_on(answered) {
            Ok(answer) => return judge(&url, &answer),
            Err(why) => silences.push(format!("{url}: {why}")),
        }
    }
    bail!(silences.join("; "))
}

/// The addresses at which a node that listens at `listen_addr` can be reached from its own machine.
fn on_this_machine(listen_addr: SocketAddr) -> anyhow::Result<Vec<String>> {
    let port = listen_addr.port();
    ensure!(port != 0, "LISTEN_ADDR leaves the port to the system: name the node with --url");
    let hosts: Vec<IpAddr> = match listen_addr.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => vec![Ipv4Addr::LOCALHOST.into()],
        // Where IPv6 is switched off, [::] can be listened on, but only IPv4 reaches it.
        IpAddr::V6(ip) if ip.is_unspecified() => {
            vec![Ipv6Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()]
        }
        ip => vec![ip],
    };
    Ok(hosts.into_iter().map(|ip| format!("http://{}", SocketAddr::new(ip, port))).collect())
}

/// The line for an answer; an error if the node is not well.
fn judge(url: &str, answer: &Answer) -> anyhow::Result<String> {
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let status = answer.status;
    if status == StatusCode::OK {
        let state = body["data"]["status"].as_str().unwrap_or(status.as_str()).to_owned();
        let parts: Vec<_> = [state].into_iter().chain(reasons(&body["data"])).collect();
        return Ok(one_line(&format!("{url}: {}", parts.join("; "))));
    }
    let reasons: Vec<_> = reasons(&body["error"]).collect();
    let sentence = body["message"].as_str().unwrap_or_default().to_owned();
    let why = if reasons.is_empty() { sentence } else { reasons.join("; ") };
    bail!(one_line(format!("{url}: {} {why}", status.as_str()).trim_end()))
}

/// What is down, each with its sentence.
fn reasons(part: &Value) -> impl Iterator<Item = String> {
    let details = part["details"].as_object().into_iter().flatten();
    details.map(|(component, why)| format!("{component}: {}", why.as_str().unwrap_or_default()))
}

fn one_line(text: &str) -> String {
    text.replace(char::is_control, " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_is_asked_where_it_can_be_reached_from_its_own_machine() {
        let asked = |listens: &str| on_this_machine(listens.parse().unwrap());
        for (listens, bases) in [
            ("127.0.0.1:8080", &["http://127.0.0.1:8080"][..]),
            ("10.1.2.3:80", &["http://10.1.2.3:80"]),
            ("0.0.0.0:8080", &["http://127.0.0.1:8080"]),
            ("[::1]:8080", &["http://[::1]:8080"]),
            ("[::]:8080", &["http://[::1]:8080", "http://127.0.0.1:8080"]),
        ] {
            assert_eq!(asked(listens).unwrap(), bases, "{listens}");
        }
        assert!(asked("127.0.0.1:0").unwrap_err().to_string().contains("--url"));
    }

    #[test]
    fn an_answer_is_one_line() {
        let said = |status: u16, body: &'static str| {
            let status = StatusCode::from_u16(status).unwrap();
            judge("http://a/readyz", &Answer { status, body: body.into(), is_cut: false })
                .map_err(|error| error.to_string())
        };
        let ready = r#"{"success":true,"data":{"status":"ready"}}"#;
        assert_eq!(said(200, ready), Ok("http://a/readyz: ready".to_owned()));
        let in_part = r#"{"data":{"status":"ready","details":{"redis a:1":"It is away."}}}"#;
        let line = "http://a/readyz: ready; redis a:1: It is away.";
        assert_eq!(said(200, in_part), Ok(line.to_owned()));
        assert_eq!(said(200, "OK"), Ok("http://a/readyz: 200".to_owned()));
        let failure = |line: &str| Err(format!("http://a/readyz: {line}"));
        let down = r#"{"message":"m","error":{"details":{"node":"It ends.","redis":"a\nb"}}}"#;
        assert_eq!(said(503, down), failure("503 node: It ends.; redis: a b"));
        assert_eq!(said(429, r#"{"message":"Slower."}"#), failure("429 Slower."));
        assert_eq!(said(302, "<html>"), failure("302"));
    }
}
