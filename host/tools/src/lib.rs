//! Runs other programs and shows what is run: shared by `cargo xtask`, the benchmark and the tests.
//! Never shipped.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

pub mod cluster;

/// A value, or a message that says what is wrong.
pub type Result<T = ()> = std::result::Result<T, String>;

/// The root of the repository.
pub fn root() -> PathBuf {
    let host = Path::new(env!("CARGO_MANIFEST_DIR")).parent();
    host.and_then(Path::parent).expect("host/tools/ stands two floors below the root").to_owned()
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// `program` with `arguments`, separated by spaces, in the root of the repository.
pub fn command(program: &str, arguments: &str) -> Command {
    let mut command = Command::new(program);
    command.args(arguments.split_whitespace()).current_dir(root());
    command
}

/// The Cargo that runs this program, without the variables that describe this program's package.
/// Build scripts that read them (ring's does) would take them for a change, and half of the host
/// would be compiled once more.
pub fn cargo(arguments: &str) -> Command {
    let mut cargo =
        command(&std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned()), arguments);
    for (name, _) in std::env::vars_os() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_"]
            .iter()
            .any(|start| name.to_string_lossy().starts_with(start))
        {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Shows the command and runs it.
///
/// # Errors
///
/// If it does not start, or fails.
pub fn run(command: &mut Command) -> Result {
    let shown = show(command);
    let status = command.status().map_err(|error| format!("failed to start `{shown}`: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` ended with {status}")) }
}

/// Shows the command, runs it, and hands every line it prints to `line` as well.
///
/// # Errors
///
/// If it does not start, or fails.
///
/// # Panics
///
/// If standard output is closed while the command prints.
pub fn run_reading(command: &mut Command, mut line: impl FnMut(&str)) -> Result {
    let shown = show(command);
    let failed = |error: std::io::Error| format!("failed to run `{shown}`: {error}");
    let mut child =
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
    let (stdout, stderr) =
        (child.stdout.take().expect("it is piped"), child.stderr.take().expect("it is piped"));
    let echo = thread::spawn(move || {
        let lines = BufReader::new(stdout).lines().map_while(std::result::Result::ok);
        lines.inspect(|line| println!("{line}")).collect::<Vec<String>>()
    });
    for text in BufReader::new(stderr).lines().map_while(std::result::Result::ok) {
        eprintln!("{text}");
        line(&text);
    }
    echo.join().expect("printing does not panic").iter().for_each(|text| line(text));
    let status = child.wait().map_err(failed)?;
    if status.success() { Ok(()) } else { Err(format!("`{shown}` ended with {status}")) }
}

/// Runs the command without showing it and returns what it prints.
///
/// # Errors
///
/// If it does not start, fails, or prints something that is not text.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = text(command);
    let output = command.output().map_err(|error| format!("failed to start `{shown}`: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "`{shown}` ended with {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    String::from_utf8(output.stdout)
        .map_err(|_| format!("`{shown}` printed something that is not text"))
}

/// Installs a program that Debian has under its own name, if it is missing.
///
/// # Errors
///
/// If it is missing and cannot be installed.
pub fn install(program: &str) -> Result {
    install_from(program, program)
}

/// Installs a program from one of Debian's packages, if it is missing.
///
/// # Errors
///
/// If it is missing and cannot be installed.
pub fn install_from(program: &str, package: &str) -> Result {
    if output(command(program, "--version").env("LC_ALL", "C"))
        .is_err_and(|error| error.contains("failed to start"))
    {
        say(&format!("installing {package}"));
        let update = run(&mut command("apt-get", "update -q"));
        let installed =
            update.and_then(|()| run(&mut command("apt-get", &format!("install -y -q {package}"))));
        installed.map_err(|error| {
            format!(
                "{program} is missing and could not be installed ({error}): install it, on Debian the package {package}"
            )
        })?;
    }
    Ok(())
}

/// Prints what is done next.
pub fn say(what: &str) {
    let bold = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if bold { eprintln!("\x1b[1m==> {what}\x1b[0m") } else { eprintln!("==> {what}") }
}

fn show(command: &Command) -> String {
    let text = text(command);
    eprintln!("  $ {text}");
    text
}

fn text(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let mut text =
        program.file_name().unwrap_or(program.as_os_str()).to_string_lossy().into_owned();
    for argument in command.get_args() {
        let _ = write!(text, " {}", argument.to_string_lossy());
    }
    text
}
