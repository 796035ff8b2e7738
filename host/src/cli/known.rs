//! The facts that a client needs of a host, from the configuration. A mistake elsewhere in the file
//! does not stop a client: operators ask most when the file is broken.

use std::net::SocketAddr;
use std::path::Path;

use super::failure::Failure;
use super::remarks::warning;
use super::{Common, USUAL_CONFIG};
use crate::config::{AdminAddress, Partial, Problems};
use crate::server::reachable;

/// The configuration, as far as it can be read; what is wrong with it is counted on stderr.
pub(super) fn partial(common: &Common) -> Result<Partial, Failure> {
    let partial = load(common, "")?;
    if let Err(problems) = &partial.whole {
        warning(&count(common, problems));
    }
    Ok(partial)
}

/// The admin address of the host of this configuration, as this machine reaches it.
pub(super) fn admin(common: &Common) -> Result<SocketAddr, Failure> {
    const OR: &str = ", or name the host with `--admin URL` or HOOKBOX_ADMIN";
    let partial = match load(common, OR) {
        Ok(partial) => partial,
        Err(Failure::Config(problems)) if is_readable(&common.config) => {
            let admin = Partial::default_admin();
            warning(&format!("{}; {}", count(common, &problems), guessed(admin)));
            return Ok(admin);
        }
        Err(failure) => return Err(failure),
    };
    let (admin, is_guessed) = match partial.admin {
        AdminAddress::Known(admin) => (admin, false),
        AdminAddress::Guessed(admin) => (admin, true),
    };
    if let Err(problems) = &partial.whole {
        let more = if is_guessed { format!("; {}", guessed(admin)) } else { String::new() };
        warning(&format!("{}{more}", count(common, problems)));
    }
    Ok(reachable(admin))
}

/// `or` says what else could be done about a file that cannot be read.
fn load(common: &Common, or: &str) -> Result<Partial, Failure> {
    Partial::load(&common.config).map_err(|problems| {
        if is_readable(&common.config) {
            return Failure::from(problems);
        }
        if !common.is_named && !common.config.exists() {
            let named = "name one with `--config FILE` or HOOKBOX_CONFIG";
            return Failure::usage(format!(
                "there is no {USUAL_CONFIG} in this folder: {named}{or}"
            ));
        }
        let Some(problem) = problems.iter().next() else { return Failure::from(problems) };
        Failure::usage(format!(
            "{}: {}: {}{or}",
            common.config.display(),
            problem.message,
            problem.help
        ))
    })
}

fn is_readable(path: &Path) -> bool {
    path.is_file() && std::fs::File::open(path).is_ok()
}

fn count(common: &Common, problems: &Problems) -> String {
    let config = common.config.display();
    let command = if common.is_named {
        format!("hookbox check --config {config}")
    } else {
        "hookbox check".to_owned()
    };
    match problems.len() {
        1 => format!("{config} has a problem; `{command}` shows it"),
        number => format!("{config} has {number} problems; `{command}` shows them"),
    }
}

fn guessed(admin: SocketAddr) -> String {
    format!(
        "it does not say where the host is, so {admin} is asked (`--admin URL` or HOOKBOX_ADMIN names another address)"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_whose_api_listens_everywhere_is_asked_over_loopback() {
        let folder = tempfile::tempdir().unwrap();
        let config = folder.path().join("config.toml");
        for (listens, asked) in [
            ("0.0.0.0:3001", "127.0.0.1:3001"),
            ("[::]:3001", "[::1]:3001"),
            ("10.0.0.1:1", "10.0.0.1:1"),
        ] {
            std::fs::write(&config, format!("[server]\nadmin = \"{listens}\"\n")).unwrap();
            let common = Common { config: config.clone(), is_named: true, logs_json: false };
            let Ok(admin) = admin(&common) else { panic!("{listens} is an address") };
            assert_eq!(admin.to_string(), asked);
        }
    }
}
