//! What a plugin's request needs of the machine: names become addresses, and addresses connections.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;

use tokio::net::TcpStream;

/// An answer of the network.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

/// The machine's network, or a stand-in for it.
pub trait Network: fmt::Debug + Send + Sync {
    /// The addresses of a name, each with `port`. Asked once for a connection; each answer is checked before it is used.
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> Answer<'a, Vec<SocketAddr>>;

    /// Connects to exactly this address.
    fn connect(&self, address: SocketAddr) -> Answer<'_, TcpStream>;
}

/// The machine's own.
#[derive(Debug)]
pub(super) struct System;

impl Network for System {
    fn resolve<'a>(&'a self, name: &'a str, port: u16) -> Answer<'a, Vec<SocketAddr>> {
        Box::pin(async move { Ok(tokio::net::lookup_host((name, port)).await?.collect()) })
    }

    fn connect(&self, address: SocketAddr) -> Answer<'_, TcpStream> {
        Box::pin(async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(stream)
        })
    }
}
