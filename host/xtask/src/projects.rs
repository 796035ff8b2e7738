//! `cargo xtask projects`: from `hookbox new` to a handled event in every language, by the printed
//! commands alone; and the programs of `docs/languages.md`.
//!
//! The tools that `./build` installs are linked from the example of the language, which has
//! installed it already: the road is the same, and gigabytes are not fetched twice.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::languages;
use crate::plugins::hookbox;
use hookbox_tools::{Result, output, root, run, say, target_dir};

const LANGUAGES: [&str; 5] = ["rust", "js", "python", "go", "c"];

/// Files that a `build` installs or keeps.
const INSTALLED: [&str; 4] = ["target", "node_modules", ".venv", ".zig-cache"];

/// How long an event may take to be handled, a first compilation included.
const PATIENCE: Duration = Duration::from_secs(120);

/// Walks the road in every language. `cargo xtask plugins` has been there before.
pub(crate) fn check() -> Result {
    let results = LANGUAGES.map(|lang| walk(lang).map_err(|error| format!("{lang}: {error}")));
    let problems: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

fn walk(lang: &str) -> Result {
    let name = format!("my-{lang}");
    say(&name);
    let site = Site::new(lang)?;
    let printed = output(site.hookbox(&["new", &name, "--lang", lang]).current_dir(&site.0))?;
    site.link_what_is_installed(lang, &name)?;
    // Indented are the commands, and at the end the line that goes under [routes].
    let mut commands: Vec<&str> =
        printed.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let route = commands.pop().ok_or("`hookbox new` printed no commands")?;
    run(Command::new("sh").args(["-euc", &commands.join("\n")]).current_dir(&site.0))?;
    let config = fs::File::options().append(true).open(site.config());
    config
        .and_then(|mut config| writeln!(config, "{route}"))
        .map_err(|error| site.failed(&error))?;
    let _host = site.serve()?;
    let order = "event_data.callback_id=order_1";
    run(&mut site.hookbox(&["send", "heygen", "avatar_video.success", "--set", order]))?;
    site.wait_for(
        &["events", "--subject", "order_1", "--type", "order.video_ready", "--json"],
        "order.video_ready",
    )?;
    languages::check(lang, &site.0.join(&name))
}

/// A folder with a configuration.
struct Site(PathBuf);

/// Ended when dropped.
struct Host(Child);

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Site {
    /// A fresh one.
    fn new(lang: &str) -> Result<Self> {
        let site = Self(target_dir().join("projects").join(lang));
        let fail = |error: std::io::Error| site.failed(&error);
        if site.0.exists() {
            fs::remove_dir_all(&site.0).map_err(fail)?;
        }
        fs::create_dir_all(site.0.join("plugins")).map_err(fail)?;
        let bind = || TcpListener::bind("127.0.0.1:0");
        // Both are held until both are known: they must not be the same.
        let (listen, admin) = (bind().map_err(fail)?, bind().map_err(fail)?);
        let address = |listener: &TcpListener| listener.local_addr().map_err(fail);
        let config = format!(
            "[server]\nlisten = \"{}\"\nadmin = \"{}\"\n\
             [sources.heygen]\npreset = \"heygen\"\nsecrets = [{{ env = \"HEYGEN_WEBHOOK_SECRET\" }}]\n[routes]\n",
            address(&listen)?,
            address(&admin)?
        );
        drop((listen, admin));
        fs::write(site.config(), config).map_err(fail)?;
        Ok(site)
    }

    fn config(&self) -> PathBuf {
        self.0.join("config.toml")
    }

    fn failed(&self, error: &std::io::Error) -> String {
        format!("failed in {}: {error}", self.0.display())
    }

    fn hookbox(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(hookbox());
        command
            .args(arguments)
            .arg("--config")
            .arg(self.config())
            .env("HOOKBOX_LOG", "error")
            .env_remove("HEYGEN_WEBHOOK_SECRET");
        command
    }

    fn link_what_is_installed(&self, lang: &str, name: &str) -> Result {
        let example = root().join("plugins").join(format!("hello-{lang}"));
        for made in INSTALLED.iter().filter(|made| example.join(made).is_dir()) {
            symlink(example.join(made), self.0.join(name).join(made))
                .map_err(|error| self.failed(&error))?;
        }
        Ok(())
    }

    /// Starts the host and waits until it is up.
    fn serve(&self) -> Result<Host> {
        let mut serve = self.hookbox(&["serve"]);
        serve.stdin(Stdio::null()).stdout(Stdio::piped());
        let mut host = Host(serve.spawn().map_err(|error| self.failed(&error))?);
        let mut lines = BufReader::new(host.0.stdout.take().expect("it is piped"))
            .lines()
            .map_while(std::result::Result::ok);
        if !lines.any(|line| line.contains("ctrl-c")) {
            return Err("the host ended at once".to_owned());
        }
        std::thread::spawn(move || lines.for_each(drop));
        Ok(host)
    }

    /// Asks until the answer has `mark` in it.
    fn wait_for(&self, question: &[&str], mark: &str) -> Result {
        let started = Instant::now();
        loop {
            let answer = output(&mut self.hookbox(question))?;
            if answer.contains(mark) {
                return Ok(());
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("waited in vain for {mark}: {}", self.deliveries()));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// The result of the event instead.
    fn deliveries(&self) -> String {
        output(&mut self.hookbox(&["deliveries"])).unwrap_or_else(|error| error)
    }
}
