//! One request to the node that runs on this machine, and its answer.

use anyhow::Context;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Sends a request, with a JSON body if there is one: status and body of the answer.
pub fn ask(port: u16, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, String)> {
    let address = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(5))
        .with_context(|| format!("no node answers on http.port {port}; is it running, and is the port right?"))?;
    stream.set_read_timeout(Some(Duration::from_secs(120)))?;
    let length = body.len();
    // An administrator's key, where the node asks who is there.
    let key = std::env::var("HUTONG_API_KEY").ok().filter(|k| k.bytes().all(|b| b.is_ascii_graphic()));
    let key = key.map_or_else(String::new, |key| format!("X-Api-Key: {key}\r\n"));
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: {address}\r\n{key}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the node's answer is no HTTP")?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("the node's answer has no status")?;
    Ok((status, body.to_string()))
}
