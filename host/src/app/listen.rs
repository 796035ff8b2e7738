//! Binds the two listeners, and says what helps where that fails.

use std::io;
use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::AppError;

/// The first port that every user may listen on, unless the system says otherwise.
const FIRST_FREE_PORT: u16 = 1024;

/// A listener, and the address it has: a port of 0 in `address` stands for any free one.
pub(super) async fn bind(
    key: &'static str,
    address: SocketAddr,
) -> Result<(TcpListener, SocketAddr), AppError> {
    let failed = |source| AppError::Bind { key, address, source };
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let own = listener.local_addr().map_err(failed)?;
    Ok((listener, own))
}

/// The remedy, to stand behind the error.
pub(super) fn remedy(error: &io::Error, key: &str, address: SocketAddr) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            ": another program, perhaps another hookbox, listens there. End it, or change `{key}`"
        ),
        io::ErrorKind::PermissionDenied if address.port() < FIRST_FREE_PORT => format!(
            ": ports below {FIRST_FREE_PORT} need CAP_NET_BIND_SERVICE. Take another port, with a proxy in front of it"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!(": this machine does not have the address {}. Change `{key}`", address.ip())
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tasks;

    #[test]
    fn an_address_that_cannot_be_listened_on_is_told_with_a_remedy() {
        let said = |address: &str, kind: io::ErrorKind| {
            let (key, address) = ("server.listen", address.parse().unwrap());
            AppError::Bind { key, address, source: kind.into() }.to_string()
        };
        let denied = said("0.0.0.0:80", io::ErrorKind::PermissionDenied);
        for part in ["0.0.0.0:80 (`server.listen`)", "CAP_NET_BIND_SERVICE", "proxy in front"] {
            assert!(denied.contains(part), "{denied}");
        }
        assert!(
            !said("0.0.0.0:3000", io::ErrorKind::PermissionDenied).contains("CAP_NET_BIND_SERVICE")
        );
        let absent = said("192.0.2.1:3000", io::ErrorKind::AddrNotAvailable);
        assert!(absent.contains("this machine does not have the address 192.0.2.1."), "{absent}");
    }

    #[test]
    fn a_port_that_another_program_has_is_told_with_a_remedy() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let runtime = tasks::runtime("test", 1).unwrap();
        let refused = runtime.block_on(bind("server.listen", taken.local_addr().unwrap()));
        let said = refused.unwrap_err().to_string();
        for part in ["perhaps another hookbox", "End it, or change `server.listen`"] {
            assert!(said.contains(part), "{said}");
        }
    }
}
