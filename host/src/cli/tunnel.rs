//! `hookbox tunnel`: a public address for the host on a developer's machine, by a program that is
//! installed.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitCode, Stdio};
use std::task::Poll;
use std::time::Duration;

use clap::{Args, ValueEnum};
use rustix::process::{Pid, kill_process_group};
use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::net::unix::pipe::Receiver;
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::Common;
use super::failure::Failure;
use super::known;
use super::output::{Printout, printable};
use super::provider::Talk;
use super::remarks::remark;
use super::send::local_address;
use crate::tasks;

/// The longest time until a program has an address.
const PATIENCE: Duration = Duration::from_secs(60);

/// The last lines of a program that are told if it has none.
const TOLD_LINES: usize = 5;

#[derive(Debug, Args)]
#[command(after_help = "\
Starts whichever of cloudflared, ngrok and ssh (to localhost.run) is installed, and prints the public address once it is \
known. The tunnel ends with this command. With --register the address is registered at the source's provider, and removed \
again at the end.

Examples:
  hookbox tunnel
  hookbox tunnel --with ngrok
  hookbox tunnel --register heygen        register it, remove it at the end")]
pub(super) struct Tunnel {
    /// The program to use [default: the first one that is installed]
    #[arg(long, value_name = "PROGRAM", value_enum)]
    with: Option<TunnelProgram>,
    /// Register the address for this source, and remove it at the end
    #[arg(long, value_name = "SOURCE")]
    register: Option<String>,
    /// The address of the host [default: `server.listen`]
    #[arg(long, value_name = "ADDRESS")]
    to: Option<std::net::SocketAddr>,
}

/// A program that makes a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TunnelProgram {
    /// cloudflared, a quick tunnel of Cloudflare
    Cloudflared,
    /// ngrok, which needs an account
    Ngrok,
    /// ssh, to localhost.run
    Ssh,
}

impl TunnelProgram {
    const ALL: [Self; 3] = [Self::Cloudflared, Self::Ngrok, Self::Ssh];

    fn name(self) -> &'static str {
        match self {
            Self::Cloudflared => "cloudflared",
            Self::Ngrok => "ngrok",
            Self::Ssh => "ssh",
        }
    }

    fn arguments(self, to: &str) -> Vec<String> {
        let text = match self {
            Self::Cloudflared => format!("tunnel --no-autoupdate --url http://{to}"),
            Self::Ngrok => format!("http {to} --log stdout --log-format logfmt"),
            Self::Ssh => format!(
                "-o StrictHostKeyChecking=accept-new -o ExitOnForwardFailure=yes -o ServerAliveInterval=30 \
                 -R 80:{to} nokey@localhost.run"
            ),
        };
        text.split_whitespace().map(str::to_owned).collect()
    }

    /// The public address in a line of the program's output, if it is there. Programs also print
    /// addresses of their own pages and APIs.
    fn address(self, line: &str) -> Option<String> {
        let (before, after) = match self {
            Self::Cloudflared => ("https://", ".trycloudflare.com"),
            Self::Ngrok => ("url=https://", ""),
            Self::Ssh => ("tunneled with tls termination, https://", ""),
        };
        let is_host = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '.';
        let hosts = line.match_indices(before).map(|(at, _)| {
            let rest = &line[at + before.len()..];
            &rest[..rest.find(|c| !is_host(c)).unwrap_or(rest.len())]
        });
        let fits = |host: &&str| {
            let own = host.strip_suffix(after).unwrap_or_default();
            // The address of a quick tunnel is asked for at this one.
            let is_api = self == Self::Cloudflared && own == "api";
            !own.is_empty() && host.contains('.') && !is_api
        };
        hosts.into_iter().find(fits).map(|host| format!("https://{host}"))
    }
}

/// A program that runs, and its output.
struct Running {
    program: TunnelProgram,
    _child: TunnelChild,
    out: Lines<BufReader<Receiver>>,
    err: Lines<BufReader<Receiver>>,
}

/// The process, which ends with its owner, as do those that it has started.
struct TunnelChild(Child);

impl Drop for TunnelChild {
    fn drop(&mut self) {
        // It may have ended by itself. Its id stays its own until it is waited for.
        let _ = kill_process_group(Pid::from_child(&self.0), rustix::process::Signal::KILL);
        let _ = self.0.wait();
    }
}

/// The signals that end the command: ctrl-c, SIGTERM, and a terminal that is closed.
struct EndSignals(Vec<Signal>);

impl EndSignals {
    fn new() -> io::Result<Self> {
        let mut kinds = vec![SignalKind::interrupt(), SignalKind::terminate()];
        if !ignores_hangup() {
            kinds.push(SignalKind::hangup());
        }
        kinds.into_iter().map(signal).collect::<io::Result<_>>().map(Self)
    }

    /// Waits for one of them.
    async fn next(&mut self) {
        let signals = &mut self.0;
        poll_fn(|cx| match signals.iter_mut().any(|signal| signal.poll_recv(cx).is_ready()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

/// Whether the command was started with `nohup`: it outlives its terminal then.
fn ignores_hangup() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    ignored.is_some_and(|mask| mask & 1 == 1)
}

impl Tunnel {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let to = match self.to {
            Some(to) => to,
            None => local_address(&mut known::partial(common)?)?,
        };
        if to.port() == 0 {
            return Err(Failure::usage(
                "the host has no port of its own: name its address with --to 127.0.0.1:PORT",
            ));
        }
        // A source that cannot be registered is found before anything is started.
        let talk = self.talk(common)?;
        let failed = |error: io::Error| Failure::failed(format!("no tunnel: {error}"));
        let runtime = tasks::runtime("hookbox-tunnel", 1).map_err(failed)?;
        runtime.block_on(async {
            let mut signals = EndSignals::new().map_err(failed)?;
            let mut running = self.start(&to.to_string())?;
            let url = tokio::select! {
                url = running.address() => url?,
                () = signals.next() => return Ok(ExitCode::SUCCESS),
            };
            let mut out = Printout::new();
            out.line(&url);
            out.remark(format!(
                "{url}/webhook/SOURCE leads to http://{to}, by {}; ctrl-c ends it",
                running.program.name()
            ));
            out.print()?;
            if let Some(talk) = talk {
                self.register(common, &talk, &url)?;
            }
            let ended = tokio::select! {
                ended = running.ended() => Err(ended),
                () = signals.next() => Ok(ExitCode::SUCCESS),
            };
            // It is read again: it has the registration now.
            if let Some(talk) = self.talk(common)? {
                talk.delete_at(&at(&talk, &url))?;
            }
            ended
        })
    }

    /// Registers the address. A registration that was made and cannot be told is removed again.
    fn register(&self, common: &Common, talk: &Talk, url: &str) -> Result<(), Failure> {
        let url = at(talk, url);
        let told = talk.register(Some(&url), &[]);
        if told.is_err()
            && !talk.is_registered()
            && let Some(talk) = self.talk(common)?
            && talk.is_registered()
        {
            talk.delete_at(&url)?;
        }
        told
    }

    fn talk(&self, common: &Common) -> Result<Option<Talk>, Failure> {
        let name = self.register.as_deref();
        name.map(|name| Talk::new(common, name, (false, false))).transpose()
    }

    /// Starts the program that was named, or the first that is there.
    fn start(&self, to: &str) -> Result<Running, Failure> {
        let programs: Vec<_> = match self.with {
            Some(program) => vec![program],
            None => TunnelProgram::ALL.to_vec(),
        };
        for program in &programs {
            let mut command = Command::new(program.name());
            // A ctrl-c goes to this command, which ends it when the registration is removed.
            command.args(program.arguments(to)).process_group(0);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            match command.spawn() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    let name = program.name();
                    return Err(Failure::failed(format!("{name} cannot be started: {error}")));
                }
                Ok(child) => {
                    remark(&format!("{} is starting", program.name()));
                    return Running::new(*program, child);
                }
            }
        }
        let names = programs.iter().map(|program| program.name()).collect::<Vec<_>>().join(", ");
        Err(Failure::failed(format!(
            "none of these is installed: {names}; install one, or make the host reachable in another way and register \
             that address with `hookbox provider NAME register --url URL`"
        )))
    }
}

/// The address of the source behind a tunnel.
fn at(talk: &Talk, url: &str) -> String {
    format!("{url}/webhook/{}", talk.name())
}

/// The lines of an output of a process.
fn lines(output: Option<OwnedFd>) -> Result<Lines<BufReader<Receiver>>, Failure> {
    let gone = || io::Error::other("an output is missing");
    let read = output.ok_or_else(gone).and_then(Receiver::from_owned_fd);
    let read = read.map_err(|error| Failure::failed(format!("no tunnel: {error}")))?;
    Ok(BufReader::new(read).lines())
}

impl Running {
    fn new(program: TunnelProgram, mut child: Child) -> Result<Self, Failure> {
        let out = lines(child.stdout.take().map(OwnedFd::from))?;
        let err = lines(child.stderr.take().map(OwnedFd::from))?;
        Ok(Self { program, _child: TunnelChild(child), out, err })
    }

    /// The next line of either output; `None` if the program has ended.
    async fn line(&mut self) -> Option<String> {
        let next = tokio::select! {
            line = self.out.next_line() => match line {
                Ok(Some(line)) => Ok(Some(line)),
                _ => self.err.next_line().await,
            },
            line = self.err.next_line() => match line {
                Ok(Some(line)) => Ok(Some(line)),
                _ => self.out.next_line().await,
            },
        };
        next.ok().flatten()
    }

    /// Waits for the public address.
    async fn address(&mut self) -> Result<String, Failure> {
        let mut told: Vec<String> = Vec::new();
        let program = self.program;
        let reading = async {
            while let Some(line) = self.line().await {
                if let Some(url) = program.address(&line) {
                    return Some(url);
                }
                told.push(printable(&line));
                if told.len() > TOLD_LINES {
                    told.remove(0);
                }
            }
            None
        };
        let found = tokio::time::timeout(PATIENCE, reading).await;
        let why = match found {
            Ok(Some(url)) => return Ok(url),
            Ok(None) => "ended without an address".to_owned(),
            Err(_) => format!("has told no address within {} s", PATIENCE.as_secs()),
        };
        let name = self.program.name();
        Err(Failure::failed(format!("{name} {why}; its last lines were:\n{}", told.join("\n"))))
    }

    /// Waits for its end, and takes its output meanwhile.
    async fn ended(&mut self) -> Failure {
        while self.line().await.is_some() {}
        Failure::failed(format!("{} has ended, and the tunnel with it", self.program.name()))
    }
}

#[cfg(test)]
mod tests {
    use super::TunnelProgram::{Cloudflared, Ngrok, Ssh};

    #[test]
    fn the_address_is_told_from_others_that_programs_print() {
        for (program, line, expected) in [
            (
                Cloudflared,
                "INF |  https://a-b-c.trycloudflare.com   |",
                Some("https://a-b-c.trycloudflare.com"),
            ),
            (Cloudflared, "see https://developers.cloudflare.com/cloudflare-one", None),
            (Cloudflared, "Post \"https://api.trycloudflare.com/tunnel\": context deadline", None),
            (
                Cloudflared,
                "by https://api.trycloudflare.com/ at https://a-b.trycloudflare.com/",
                Some("https://a-b.trycloudflare.com"),
            ),
            (
                Ngrok,
                "lvl=info msg=\"started tunnel\" url=https://ab12.ngrok-free.app",
                Some("https://ab12.ngrok-free.app"),
            ),
            (Ngrok, "see https://ngrok.com/docs", None),
            (
                Ssh,
                "ab.lhr.life tunneled with tls termination, https://ab.lhr.life",
                Some("https://ab.lhr.life"),
            ),
            (Ssh, "** follow https://twitter.com/localhost_run **", None),
        ] {
            assert_eq!(program.address(line).as_deref(), expected, "{line}");
        }
    }
}
