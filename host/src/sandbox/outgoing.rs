//! `wasi:http/outgoing-handler`: linked, because toolchains add it by themselves, and refused, because no plugin is
//! granted any address.

use std::future::Future;

use ::http::{Request, Response};
use wasmtime_wasi_http::{Error, RequestOptions, Result, WasiBody, WasiHttpHooks};

use super::logs::LogBook;

/// What a guest that sends is answered with, and the line it leaves in the log.
pub(super) struct Outgoing {
    pub(super) logs: LogBook,
}

type Io = Box<dyn Future<Output = Result<()>> + Send>;

impl WasiHttpHooks for Outgoing {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _io: Io,
    ) -> Box<dyn Future<Output = Result<(Response<WasiBody>, Io)>> + Send> {
        let host = request.uri().authority().map_or("", |authority| authority.as_str());
        self.logs.line(
            "warn",
            &format!("{} to {host} was refused: plugins have no access to the network", request.method()),
        );
        Box::new(std::future::ready(Err(Error::HttpRequestDenied)))
    }
}
