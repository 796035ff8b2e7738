//! A server that answers as it is told, and keeps what it was asked.

use std::io;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// A server's answer.
pub(in crate::egress) struct Reply {
    pub(in crate::egress) bytes: Vec<u8>,
    pub(in crate::egress) then: Then,
}

/// A server's behaviour after its answer.
#[derive(Clone, Copy)]
pub(in crate::egress) enum Then {
    /// Waits for the next request.
    Wait,
    /// Hangs up.
    Close,
    /// Sends more and more.
    Flood,
    /// Neither reads nor writes any more.
    Hang,
}

impl Reply {
    pub(in crate::egress) fn ok(body: &str) -> Self {
        Self::raw(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()))
    }

    pub(in crate::egress) fn raw(text: &str) -> Self {
        Self { bytes: text.as_bytes().to_vec(), then: Then::Wait }
    }

    pub(in crate::egress) fn chunks(chunks: &[&str]) -> Self {
        let chunks: String =
            chunks.iter().map(|chunk| format!("{:x}\r\n{chunk}\r\n", chunk.len())).collect();
        Self::raw(&format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{chunks}0\r\n\r\n"
        ))
    }

    pub(in crate::egress) fn then(self, then: Then) -> Self {
        Self { then, ..self }
    }
}

type Script = Arc<dyn Fn(&str) -> Reply + Send + Sync>;

/// A server that keeps what it was asked.
pub(in crate::egress) struct Server {
    pub(in crate::egress) port: u16,
    requests: Arc<Mutex<Vec<(usize, String)>>>,
    /// Connections opened and closed so far.
    connections: watch::Sender<(usize, usize)>,
}

impl Server {
    /// On 127.0.0.1 and, where the machine has it, on [::1], with the same port.
    pub(in crate::egress) async fn new(
        script: impl Fn(&str) -> Reply + Send + Sync + 'static,
    ) -> Arc<Self> {
        let script: Script = Arc::new(script);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Arc::new(Self {
            port,
            requests: Arc::default(),
            connections: watch::Sender::new((0, 0)),
        });
        let v6 = TcpListener::bind(("::1", port)).await.ok();
        for listener in [Some(listener), v6].into_iter().flatten() {
            tokio::spawn(Arc::clone(&server).accept(listener, Arc::clone(&script)));
        }
        server
    }

    async fn accept(self: Arc<Self>, listener: TcpListener, script: Script) {
        while let Ok((stream, _)) = listener.accept().await {
            let mut number = 0;
            self.connections.send_modify(|(opened, _)| {
                *opened += 1;
                number = *opened;
            });
            let (server, script) = (Arc::clone(&self), Arc::clone(&script));
            tokio::spawn(async move {
                // A client that hangs up is no failure of the server.
                let _ = server.serve(stream, number, script).await;
                server.connections.send_modify(|(_, closed)| *closed += 1);
            });
        }
    }

    async fn serve(&self, mut stream: TcpStream, number: usize, script: Script) -> io::Result<()> {
        while let Some(request) = read_request(&mut stream).await? {
            self.requests.lock().unwrap().push((number, request.clone()));
            let reply = script(&request);
            stream.write_all(&reply.bytes).await?;
            match reply.then {
                Then::Wait => {}
                Then::Close => return Ok(()),
                Then::Flood => loop {
                    stream.write_all(&[b'x'; 16 << 10]).await?;
                },
                Then::Hang => while stream.read(&mut [0; 1024]).await? > 0 {},
            }
        }
        Ok(())
    }

    /// The requests that came, each with the number of its connection.
    pub(in crate::egress) fn requests(&self) -> Vec<(usize, String)> {
        self.requests.lock().unwrap().clone()
    }

    /// The only request.
    #[track_caller]
    pub(in crate::egress) fn request(&self) -> String {
        let requests = self.requests();
        assert_eq!(requests.len(), 1, "{requests:?}");
        requests[0].1.clone()
    }

    /// Connections that were opened.
    pub(in crate::egress) fn opened(&self) -> usize {
        self.connections.borrow().0
    }

    /// Waits until so many connections are closed.
    pub(in crate::egress) async fn closed(&self, count: usize) {
        self.connections.subscribe().wait_for(|(_, closed)| *closed >= count).await.unwrap();
    }

    /// Waits until so many connections are open.
    pub(in crate::egress) async fn has_opened(&self, count: usize) {
        self.connections.subscribe().wait_for(|(opened, _)| *opened >= count).await.unwrap();
    }
}

/// A head and its body, as they came.
async fn read_request(stream: &mut TcpStream) -> io::Result<Option<String>> {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let length = lower
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.parse::<usize>().ok());
            let whole = match length {
                Some(length) => body.len() >= length,
                None => {
                    !lower.contains("transfer-encoding: chunked") || body.ends_with("0\r\n\r\n")
                }
            };
            if whole {
                return Ok(Some(text.into_owned()));
            }
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Ok(None);
        }
    }
}
