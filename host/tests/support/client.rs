//! Clients that send events as providers do.

use std::net::SocketAddr;

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;

use super::{PATIENCE, SECRET, wait_for};

/// A client that keeps its connections.
pub(crate) fn agent() -> ureq::Agent {
    let config =
        ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    ureq::Agent::new_with_config(config.build())
}

/// Posts as a provider does: see [`Host::provide`](super::Host::provide).
pub(crate) fn provide(agent: &ureq::Agent, to: SocketAddr, body: &str) -> Value {
    wait_for("an acknowledgement", || {
        let (status, reply) = post(agent, to, body).unwrap();
        let late =
            status == 503 && reply["detail"] == "Storing the event took too long; send it again.";
        assert!(status == 200 || late, "{status}: {reply}");
        (status == 200).then_some(reply)
    })
}

/// Posts a signed body to the source `test`.
pub(crate) fn post(
    agent: &ureq::Agent,
    to: SocketAddr,
    body: &str,
) -> Result<(u16, Value), String> {
    let response = agent
        .post(format!("http://{to}/webhook/test"))
        .header("content-type", "application/json")
        .header("x-signature", sign(body.as_bytes()))
        .send(body);
    let mut response = response.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let text = response.body_mut().read_to_string().map_err(|error| error.to_string())?;
    Ok((status, serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?))
}

/// Lower-case hex HMAC-SHA256 with [`SECRET`].
pub(crate) fn sign(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(SECRET.as_bytes()).unwrap();
    mac.update(body);
    hex::encode(mac.finalize().into_bytes())
}
