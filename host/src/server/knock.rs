//! One request to a listener of this host, as a client sends it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, Response, header};
use http_body_util::{BodyExt, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::tasks;

/// The most of a reply that is read, in bytes.
const MAX_REPLY_BYTES: usize = 64 << 10;

/// Posts `body` to `path` of the listener at `address`, over loopback if it listens everywhere.
///
/// # Errors
/// There is no whole answer within the time.
pub async fn post(
    address: SocketAddr,
    path: &str,
    headers: &[(String, String)],
    body: Vec<u8>,
    within: Duration,
) -> io::Result<Response<Bytes>> {
    let address = reachable(address);
    let mut request = Request::post(path).header(header::HOST, address.to_string());
    for (name, value) in headers {
        request = request.header(name, value);
    }
    let request = request.body(Body::from(body)).map_err(io::Error::other)?;
    timeout(within, exchange(address, request))
        .await
        .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)))
}

async fn exchange(address: SocketAddr, request: Request<Body>) -> io::Result<Response<Bytes>> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
    // It ends with the sender.
    tasks::spawn(async move {
        let _ = connection.await;
    });
    let response = sender.send_request(request).await.map_err(io::Error::other)?;
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_REPLY_BYTES).collect().await;
    Ok(Response::from_parts(head, body.map_err(io::Error::other)?.to_bytes()))
}

/// The address at which this machine reaches a listener.
pub fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_on_every_address_is_reached_over_loopback() {
        for (listens, reached) in [
            ("0.0.0.0:3000", "127.0.0.1:3000"),
            ("[::]:3000", "[::1]:3000"),
            ("192.0.2.1:3000", "192.0.2.1:3000"),
        ] {
            let address = reachable(listens.parse().unwrap());
            assert_eq!(address, reached.parse().unwrap());
        }
    }
}
