//! `hookbox events edit`: a new event is made of an old one.

use std::fs;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde_json::{Map, Value, json};

use super::event_id;
use crate::cli::client::AdminClient;
use crate::cli::failure::Failure;
use crate::cli::listing::elements;
use crate::cli::output::{Printout, print_json, printable, text};
use crate::env;
use crate::event::EventId;

/// Make a new event of an old one, with another body, type or subject
#[derive(Debug, Args)]
#[command(after_help = "\
Without --data, --type and --subject the body is opened in an editor (VISUAL, EDITOR, or vi). Both events name each other.

Examples:
  hookbox events edit evt_019a…                   open its body in an editor
  hookbox events edit evt_019a… --data fixed.json --plugin audit
  hookbox events edit evt_019a… --type order.paid")]
pub(super) struct EditArgs {
    /// The event
    #[arg(value_parser = event_id)]
    id: EventId,
    /// Another type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Another subject; an empty one takes it away
    #[arg(long)]
    subject: Option<String>,
    /// Another body, from a file; `-` is stdin
    #[arg(long, value_name = "FILE")]
    data: Option<PathBuf>,
    /// Only this plugin; may be repeated
    #[arg(long = "plugin", value_name = "NAME")]
    plugins: Vec<String>,
}

impl EditArgs {
    pub(super) fn run(&self, client: &AdminClient, json: bool) -> Result<(), Failure> {
        let mut asked = Map::new();
        let mut add = |name: &str, value: Option<Value>| {
            asked.extend(value.map(|value| (name.to_owned(), value)));
        };
        add("type", self.kind.clone().map(Value::from));
        add("subject", self.subject.clone().map(Value::from));
        add("plugins", (!self.plugins.is_empty()).then(|| json!(self.plugins)));
        add("data_base64", self.body(client)?.map(|body| STANDARD.encode(body).into()));
        let path = format!("/api/v1/events/{}/replay", self.id);
        let body = Value::from(asked).to_string();
        let made = client.post_body(&path, ("application/json", body.as_bytes()), None)?;
        if json {
            return print_json(&made);
        }
        let mut out = Printout::new();
        out.line(format!("{} is made of {}", text(&made["event_id"]), self.id));
        let pairs = elements(&made["deliveries"]).iter().zip(elements(&made["plugins"]));
        for (delivery, plugin) in pairs {
            out.line(format!("{}  {}", text(delivery), text(plugin)));
        }
        out.print()
    }

    /// The new body; nothing if it stays.
    fn body(&self, client: &AdminClient) -> Result<Option<Vec<u8>>, Failure> {
        if let Some(file) = &self.data {
            return read(file).map(Some);
        }
        if self.kind.is_some() || self.subject.is_some() {
            return Ok(None);
        }
        let mut body = Vec::new();
        client.copy(&format!("/api/v1/events/{}/body", self.id), &[], &mut body)?;
        let edited = in_editor(&self.id.to_string(), &body)
            .map_err(|error| Failure::failed(format!("the body cannot be edited: {error}")))?;
        if edited == body {
            return Err(Failure::failed("nothing was edited, and no event is made".to_owned()));
        }
        Ok(Some(edited))
    }
}

fn read(file: &Path) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = match file.to_str() {
        Some("-") => io::stdin().lock().read_to_end(&mut bytes).map(drop),
        _ => fs::read(file).map(|read| bytes = read),
    };
    let shown = printable(&file.display().to_string());
    read.map_err(|error| Failure::usage(format!("failed to read {shown}: {error}")))?;
    Ok(bytes)
}

/// Has an editor open bytes; returns what it has saved.
fn in_editor(name: &str, bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|error| io::Error::other(error.to_string()))?;
    // Others of this machine may not read payloads.
    let folder = env::temp_dir().join(format!("hookbox-{}", hex::encode(random)));
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    let file = folder.join(format!("{name}.json"));
    let edited = (|| {
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(&file)?.write_all(bytes)?;
        let mut shell = Command::new("sh");
        // An editor may be a command with options.
        let line = "eval \"$HOOKBOX_EDITS\" '\"$1\"'";
        let status = shell
            .args(["-c", line, "hookbox"])
            .arg(&file)
            .env("HOOKBOX_EDITS", env::editor())
            .status()?;
        if !status.success() {
            return Err(io::Error::other(format!("the editor ended with {status}")));
        }
        fs::read(&file)
    })();
    fs::remove_dir_all(&folder)?;
    edited
}
