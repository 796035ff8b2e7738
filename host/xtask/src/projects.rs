//! `cargo xtask projects`: from `hookbox new` to a handled event in every language, by the printed
//! commands alone; and the programs of `docs/languages.md`.
//!
//! The tools that `./build` installs are linked from the example of the language, which has
//! installed it already: the road is the same, and gigabytes are not fetched twice.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::process::Command;

use crate::languages;
use crate::site::Site;
use hookbox_tools::{Result, output, root, run, say};

const LANGUAGES: [&str; 5] = ["rust", "js", "python", "go", "c"];

/// Files that a `build` installs or keeps.
const INSTALLED: [&str; 4] = ["target", "node_modules", ".venv", ".zig-cache"];

/// Walks the road in every language. `cargo xtask plugins` has been there before.
pub(crate) fn check() -> Result {
    let results = LANGUAGES.map(|lang| walk(lang).map_err(|error| format!("{lang}: {error}")));
    let problems: Vec<String> = results.into_iter().filter_map(Result::err).collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("\n")) }
}

fn walk(lang: &str) -> Result {
    let name = format!("my-{lang}");
    say(&name);
    let site = Site::new(&format!("projects/{lang}"))?;
    let printed = output(site.hookbox(&["new", &name, "--lang", lang]).current_dir(&site.0))?;
    link_what_is_installed(&site, lang, &name)?;
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

fn link_what_is_installed(site: &Site, lang: &str, name: &str) -> Result {
    let example = root().join("plugins").join(format!("hello-{lang}"));
    for made in INSTALLED.iter().filter(|made| example.join(made).is_dir()) {
        symlink(example.join(made), site.0.join(name).join(made))
            .map_err(|error| site.failed(&error))?;
    }
    Ok(())
}
