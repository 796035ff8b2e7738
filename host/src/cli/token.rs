//! `hookbox token`: make a token for the admin API, and list those of a running host.

use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Common;
use super::client::HostArg;
use super::failure::Failure;
use super::listing::elements;
use super::output::{Printout, print_json, text};
use crate::config::{Role, check_token_name};

/// Tells tokens from other texts, for people and for programs that look for secrets.
const PREFIX: &str = "hbx_";

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  hookbox token new jo --role operator
  hookbox token new grafana --role viewer
  hookbox token list")]
pub(super) struct TokenArgs {
    #[command(subcommand)]
    verb: TokenVerb,
    /// Answer in JSON
    #[arg(long, global = true, display_order = 880)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

#[derive(Debug, Subcommand)]
enum TokenVerb {
    /// Make a token: prints it once, with the line for `server.admin_tokens`
    #[command(after_help = "\
Nothing is written and no host is asked. The line has only the hash of the token: keep the token itself, for example in a \
file for --token-file, because nobody can show it again. A running host takes the line without a restart.

Examples:
  hookbox token new jo --role operator
  hookbox token new rob --role viewer --payloads
  hookbox token new shop --role send --json")]
    New(NewToken),
    /// List the tokens of a running host: names and roles
    #[command(after_help = "\
Examples:
  hookbox token list
  hookbox token list --json")]
    List,
}

#[derive(Debug, Args)]
struct NewToken {
    /// The name that the audit log will have for its client
    #[arg(value_name = "NAME", value_parser = name)]
    name: String,
    /// The routes that it opens
    #[arg(long, value_enum)]
    role: RoleArg,
    /// Let a viewer read payloads, header values, logs and the values of keys
    #[arg(long)]
    payloads: bool,
}

/// A role, as an option has it.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArg {
    /// Looks, and changes nothing
    Viewer,
    /// Makes events, and does nothing else
    Send,
    /// Does everything
    Operator,
}

impl RoleArg {
    fn role(self) -> Role {
        match self {
            Self::Viewer => Role::Viewer,
            Self::Send => Role::Send,
            Self::Operator => Role::Operator,
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    check_token_name(text).map(|()| text.to_owned())
}

impl TokenArgs {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        match &self.verb {
            TokenVerb::New(new) => new.run(self.json)?,
            TokenVerb::List => self.list(common)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn list(&self, common: &Common) -> Result<(), Failure> {
        let answer = self.host.client(common)?.get("/api/v1/tokens", &[])?;
        if self.json {
            return print_json(&answer);
        }
        let mut out = Printout::new();
        match elements(&answer["items"]) {
            [] => out.line("no token: whoever reaches this address is operator; it is loopback"),
            tokens => table(&mut out, tokens),
        }
        out.print()
    }
}

fn table(out: &mut Printout, tokens: &[Value]) {
    let head = ["NAME", "ROLE", "PAYLOADS", "LAST USED"].map(str::to_owned).to_vec();
    let row = |token: &Value| {
        let payloads = if token["payloads"] == true { "reads them" } else { "hidden" };
        let used = token["last_used_at"].as_str().unwrap_or("not since the start");
        vec![text(&token["name"]), text(&token["role"]), payloads.to_owned(), used.to_owned()]
    };
    out.table(&std::iter::once(head).chain(tokens.iter().map(row)).collect::<Vec<_>>());
}

impl NewToken {
    fn run(&self, as_json: bool) -> Result<(), Failure> {
        let role = self.role.role();
        if self.payloads && role != Role::Viewer {
            let right = match role {
                Role::Operator => "an operator reads payloads anyway",
                _ => "a client that only makes events reads nothing",
            };
            return Err(Failure::usage(format!("--payloads is for --role viewer: {right}")));
        }
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)
            .map_err(|error| Failure::failed(format!("the system has no randomness: {error}")))?;
        let token = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
        let hash = hex::encode(Sha256::digest(&token));
        let payloads = if self.payloads { ", payloads = true" } else { "" };
        let (name, role) = (&self.name, role.name());
        let line =
            format!("{{ name = \"{name}\", role = \"{role}\"{payloads}, sha256 = \"{hash}\" }}");
        if as_json {
            return print_json(&json!({ "token": token, "sha256": hash, "line": line }));
        }
        let mut out = Printout::new();
        out.line(&token);
        out.remark(format!(
            "This is the token: it is shown once. Add to `admin_tokens` in [server] of the configuration:\n{line}"
        ));
        out.print()
    }
}
