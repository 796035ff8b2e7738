//! What the environment says to the command line: which file, which host, and whether to colour.
//!
//! An option on the command line stands above a variable, and a variable above the file. An empty variable is none.

use std::ffi::OsString;
use std::path::PathBuf;

/// Reads a variable.
type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

fn own(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

/// The configuration file that `HOOKBOX_CONFIG` names.
pub fn config_file() -> Option<PathBuf> {
    own("HOOKBOX_CONFIG").map(PathBuf::from)
}

/// The admin address that `HOOKBOX_ADMIN` names, as written.
pub fn admin_address() -> Option<String> {
    own("HOOKBOX_ADMIN").map(|value| value.to_string_lossy().into_owned())
}

/// Whether a stream is to be coloured: `NO_COLOR` (<https://no-color.org>) stands above `CLICOLOR_FORCE`, and that above
/// `CLICOLOR=0` (<https://bixense.com/clicolors>), a stream that is no terminal, and `TERM=dumb`.
pub fn colour(is_terminal: bool) -> bool {
    coloured(is_terminal, &own)
}

/// Whether the terminal cannot move its cursor: `TERM` is `dumb`.
pub fn is_dumb_terminal() -> bool {
    is_dumb(&own)
}

fn coloured(is_terminal: bool, env: Env<'_>) -> bool {
    let is_set = |name: &str| env(name).is_some_and(|value| !value.is_empty());
    let is_zero = |name: &str| env(name).is_some_and(|value| value == "0");
    if is_set("NO_COLOR") {
        return false;
    }
    if is_set("CLICOLOR_FORCE") && !is_zero("CLICOLOR_FORCE") {
        return true;
    }
    is_terminal && !is_zero("CLICOLOR") && !is_dumb(env)
}

fn is_dumb(env: Env<'_>) -> bool {
    env("TERM").is_some_and(|term| term == "dumb")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colour_is_for_terminals_unless_somebody_says_otherwise() {
        type Case<'a> = (bool, &'a [(&'a str, &'a str)], bool);
        let cases: [Case<'_>; 11] = [
            (true, &[], true),
            (false, &[], false),
            (true, &[("TERM", "dumb")], false),
            (true, &[("TERM", "xterm")], true),
            (true, &[("CLICOLOR", "0")], false),
            (false, &[("CLICOLOR_FORCE", "1")], true),
            (false, &[("CLICOLOR_FORCE", "0")], false),
            (true, &[("CLICOLOR_FORCE", "1"), ("TERM", "dumb")], true),
            (true, &[("NO_COLOR", "1")], false),
            (true, &[("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")], false),
            (true, &[("NO_COLOR", "")], true),
        ];
        for (is_terminal, variables, expected) in cases {
            let env = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into());
            assert_eq!(coloured(is_terminal, &env), expected, "{is_terminal} {variables:?}");
        }
    }
}
