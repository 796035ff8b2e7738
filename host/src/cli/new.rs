//! `hookbox new`: a project for a plugin, complete enough to be built, tested and dropped into a
//! running host.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, ValueEnum};

use super::Common;
use super::failure::Failure;
use super::output::{Ink, Printout};
use crate::config::{Partial, WrittenItem};
use crate::env;
use crate::names::{MAX_NAME_BYTES, hint_at, is_plugin_name};

mod templates;

use templates::{Lang, ProjectFile};

#[derive(Debug, Args)]
#[command(after_help = "\
The project is the example plugins/hello-LANG under another name: a handler for HeyGen's webhooks, cases that say what it \
does, and `./build`, which installs what it needs (through rustup, npm or pip, into the project) and leaves NAME.wasm.

Examples:
  hookbox new my-handler --lang rust
  hookbox new my-handler --lang js --dir ~/src/my-handler")]
pub(super) struct New {
    /// The plugin's name: letters, digits, `_` and `-`
    #[arg(value_name = "NAME")]
    name: String,
    /// The language to write it in
    #[arg(long, value_name = "LANG", value_enum)]
    lang: Option<Lang>,
    /// The project's folder, new or empty [default: NAME]
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// The pattern that a new project's events come by.
const PATTERN: &str = "avatar_video.*";

impl New {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        check_name(&self.name).map_err(Failure::usage)?;
        let lang = self.lang.ok_or_else(|| Failure::usage(languages()))?;
        if lang == Lang::Ts {
            return Err(Failure::usage(TYPESCRIPT));
        }
        let dir = self.dir.clone().unwrap_or_else(|| PathBuf::from(&self.name));
        check_is_free(&dir).map_err(Failure::usage)?;
        let (example, files) = templates::of(lang);
        for file in files {
            write(&dir, file, example, &self.name).map_err(|error| {
                Failure::failed(format!(
                    "failed to write {}: {error}",
                    dir.join(file.path).display()
                ))
            })?;
        }
        self.next_steps(&dir, common).print()?;
        Ok(ExitCode::SUCCESS)
    }

    /// The commands from here to a handled event. Only lines of commands are indented.
    fn next_steps(&self, dir: &Path, common: &Common) -> Printout {
        let (mut out, name) = (Printout::new(), &self.name);
        let hookbox = quoted(&env::own_command());
        out.line(format!("{} is written. Next:\n", dir.display()));
        let mut command = |text: String| out.line(format!("  {}", out.ink(Ink::Bold, &text)));
        command(format!("cd {}", quoted(&dir.to_string_lossy())));
        command("./build".to_owned());
        command(format!("{hookbox} test ."));
        let config = Partial::load(&common.config);
        match &config {
            Ok(config) => command(format!(
                "cp {name}.wasm {}/",
                quoted(&config.plugins_dir.to_string_lossy())
            )),
            Err(_) => {
                out.line(format!("\nThen copy {name}.wasm into the plugins folder of your host."))
            }
        }
        let routes = config.as_ref().map_or(&[][..], |config| &config.routes);
        let file = if config.is_ok() {
            common.config.display().to_string()
        } else {
            "its config.toml".to_owned()
        };
        let (place, line) = route(routes, name);
        out.line(format!("\n{place} in {file}:\n\n  {line}"));
        out
    }
}

/// The place and the text of a new plugin's route in a file with these routes. TOML has each key
/// once.
fn route(routes: &[(String, Vec<WrittenItem>)], name: &str) -> (&'static str, String) {
    let Some((_, items)) = routes.iter().find(|(pattern, _)| pattern == PATTERN) else {
        return ("Then write under [routes]", format!("\"{PATTERN}\" = \"{name}\""));
    };
    if items.iter().any(|item| item.plugin == name) {
        return ("It is routed already, by this pattern", format!("\"{PATTERN}\""));
    }
    let all = items.iter().map(|item| item.text.clone()).chain([format!("\"{name}\"")]);
    let all = all.collect::<Vec<_>>().join(", ");
    (
        "Then write under [routes], in place of the line with this pattern,",
        format!("\"{PATTERN}\" = [{all}]"),
    )
}

/// The answer to a request for TypeScript.
const TYPESCRIPT: &str = "there is no template in TypeScript: take `--lang js`, and let `./build` begin with \
    `npx esbuild handler.ts --outfile=handler.js`, which strips the types";

/// The answer to a request without a language.
fn languages() -> String {
    let shown = Lang::value_variants()
        .iter()
        .filter_map(Lang::to_possible_value)
        .filter(|value| !value.is_hide_set());
    let lines = shown.map(|value| {
        let help = value.get_help().map(ToString::to_string).unwrap_or_default();
        format!("\n  --lang {:<8}{help}", value.get_name())
    });
    format!("in which language?{}", lines.collect::<String>())
}

/// A plugin's name is its file's; a project's begins with a letter besides, as every toolchain
/// wants it.
fn check_name(name: &str) -> Result<(), String> {
    if is_plugin_name(name) && name.starts_with(|first: char| first.is_ascii_alphabetic()) {
        return Ok(());
    }
    let near: String =
        name.chars().map(|c| if c.is_ascii_alphanumeric() || c == '_' { c } else { '-' }).collect();
    let near = near.trim_start_matches(|c: char| !c.is_ascii_alphabetic()).trim_end_matches('-');
    let hint = hint_at(Some(near).filter(|near| is_plugin_name(near)));
    Err(format!(
        "{name:?} is not a name for a plugin: it begins with a letter and has at most {} letters, digits, `_` and `-`{hint}",
        MAX_NAME_BYTES
    ))
}

fn check_is_free(dir: &Path) -> Result<(), String> {
    let shown = dir.display();
    match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Err(format!("{shown} is a file: say where with --dir"))
        }
        Err(error) => Err(format!("failed to read {shown}: {error}")),
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(format!(
                "{shown} is not empty, and nothing there is overwritten: say where with --dir"
            )),
        },
    }
}

/// Writes a file of the example `example` as one of the project `name`.
fn write(dir: &Path, file: &ProjectFile, example: &str, name: &str) -> io::Result<()> {
    let path = dir.join(file.path);
    fs::create_dir_all(path.parent().unwrap_or(dir))?;
    match str::from_utf8(file.content) {
        Ok(text) => fs::write(&path, text.replace(example, name))?,
        Err(_) => fs::write(&path, file.content)?,
    }
    if file.path == "build" {
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    }
    Ok(())
}

/// A word for a shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./+:@%,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_that_host_and_toolchains_take() {
        for name in ["a", "my-handler", "My_Handler2", &"a".repeat(64)] {
            assert_eq!(check_name(name), Ok(()), "{name}");
        }
        for (name, hint) in [
            ("my handler", "did you mean `my-handler`?"),
            ("händler", "did you mean `h-ndler`?"),
            ("2nd", "did you mean `nd`?"),
            ("../x", "did you mean `x`?"),
            ("x.wasm", "did you mean `x-wasm`?"),
            ("", "begins with a letter"),
            ("-", "begins with a letter"),
            (&"a".repeat(65), "at most 64"),
        ] {
            let message = check_name(name).unwrap_err();
            assert!(message.contains(hint), "{name}: {message}");
        }
    }

    #[test]
    fn the_route_fits_the_file_in_front_of_it() {
        let routes = |plugins: &[&str]| {
            let item = |name: &&str| WrittenItem {
                plugin: (*name).to_owned(),
                text: format!("\"{name}\""),
            };
            vec![(PATTERN.to_owned(), plugins.iter().map(item).collect())]
        };
        assert_eq!(route(&[], "mine").1, "\"avatar_video.*\" = \"mine\"");
        let (place, line) = route(&routes(&["video-orders"]), "mine");
        assert_eq!(line, "\"avatar_video.*\" = [\"video-orders\", \"mine\"]");
        assert!(place.contains("in place of"), "{place}");
        let (_, line) = route(&routes(&["video-orders", "audit"]), "mine");
        assert_eq!(line, "\"avatar_video.*\" = [\"video-orders\", \"audit\", \"mine\"]");
        assert!(route(&routes(&["mine"]), "mine").0.contains("routed already"));
        let mut delayed = routes(&["audit"]);
        delayed[0].1[0].text = "{ plugin = \"audit\", delay = \"1h\" }".to_owned();
        let (_, line) = route(&delayed, "mine");
        let whole = "\"avatar_video.*\" = [{ plugin = \"audit\", delay = \"1h\" }, \"mine\"]";
        assert_eq!(line, whole, "its terms are not lost");
    }

    #[test]
    fn a_shell_reads_a_quoted_word_as_it_is() {
        assert_eq!(quoted("/a/b-c.d"), "/a/b-c.d");
        assert_eq!(quoted("it's a $x"), r"'it'\''s a $x'");
        assert_eq!(quoted(""), "''");
    }
}
