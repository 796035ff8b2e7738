//! The environment: variables, and where this program and its folders are. Nothing else reads it.
//!
//! An option on the command line stands above a variable, and a variable above the file. An empty
//! variable counts as unset.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::PathBuf;

/// Reads a variable.
type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Reads a variable as it is, also an empty one.
pub fn var(name: &str) -> Option<OsString> {
    env::var_os(name)
}

fn given(name: &str) -> Option<OsString> {
    var(name).filter(|value| !value.is_empty())
}

/// The configuration file that `HOOKBOX_CONFIG` names.
pub fn config_file() -> Option<PathBuf> {
    given("HOOKBOX_CONFIG").map(PathBuf::from)
}

/// The admin address that `HOOKBOX_ADMIN` names, as written.
pub fn admin_address() -> Option<String> {
    given("HOOKBOX_ADMIN").map(|value| value.to_string_lossy().into_owned())
}

/// The file with the token for the admin API that `HOOKBOX_ADMIN_TOKEN_FILE` names.
pub fn admin_token_file() -> Option<PathBuf> {
    given("HOOKBOX_ADMIN_TOKEN_FILE").map(PathBuf::from)
}

/// Whether to colour a stream. `NO_COLOR` (<https://no-color.org>) stands above `CLICOLOR_FORCE`,
/// and that above `CLICOLOR=0` (<https://bixense.com/clicolors>), a stream that is no terminal, and
/// `TERM=dumb`.
pub fn colour(is_terminal: bool) -> bool {
    coloured(is_terminal, &given)
}

/// Whether the terminal cannot move its cursor: `TERM` is `dumb`.
pub fn is_dumb_terminal() -> bool {
    is_dumb(&given)
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

/// The fault that a test wants injected, for [`crate::fail::arm`]: `HOOKBOX_FAIL` and
/// `HOOKBOX_FAIL_UNTIL`.
pub fn fail_plan() -> Option<(String, Option<PathBuf>)> {
    let plan = given("HOOKBOX_FAIL")?.into_string().ok()?;
    Some((plan, var("HOOKBOX_FAIL_UNTIL").map(PathBuf::from)))
}

/// The log filter, `HOOKBOX_LOG`, in the syntax of `tracing_subscriber::EnvFilter`.
pub fn log_filter() -> Option<String> {
    given("HOOKBOX_LOG")?.into_string().ok()
}

/// The name by which a shell calls this program: `hookbox` if the shell finds this file by it, else
/// the file's path.
pub fn own_command() -> String {
    const NAME: &str = "hookbox";
    let Ok(own) = env::current_exe() else { return NAME.to_owned() };
    let search = var("PATH").unwrap_or_default();
    let found = env::split_paths(&search).map(|dir| dir.join(NAME)).find(|file| file.is_file());
    let same = found.is_some_and(|file| file.canonicalize().ok() == own.canonicalize().ok());
    if same { NAME.to_owned() } else { own.to_string_lossy().into_owned() }
}

/// A path that starts this very program again, also after its file was replaced by another version.
///
/// # Errors
/// The system does not tell the path.
pub fn own_program() -> io::Result<PathBuf> {
    match cfg!(target_os = "linux") {
        true => Ok(PathBuf::from("/proc/self/exe")),
        false => env::current_exe(),
    }
}

/// The folder for what this user can do without: `XDG_CACHE_HOME`, or `.cache` in the home folder
/// (<https://specifications.freedesktop.org/basedir-spec>).
pub fn user_cache_dir() -> Option<PathBuf> {
    let absolute = |name| var(name).map(PathBuf::from).filter(|path| path.is_absolute());
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))
}

/// The command that opens an editor: `VISUAL`, `EDITOR`, or `vi`.
pub fn editor() -> OsString {
    given("VISUAL").or_else(|| given("EDITOR")).unwrap_or_else(|| "vi".into())
}

/// The folder for temporary files.
pub fn temp_dir() -> PathBuf {
    env::temp_dir()
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
            let env = |name: &str| {
                variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.into())
            };
            assert_eq!(coloured(is_terminal, &env), expected, "{is_terminal} {variables:?}");
        }
    }
}
