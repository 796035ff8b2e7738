//! `hookbox kv`: key-value buckets of a running host, and what they hold.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::Common;
use super::client::{AdminClient, HostArg, encoded};
use super::failure::Failure;
use super::listing::elements;
use super::output::{Ink, Printout, bytes, print_json, printable, text};

mod change;

#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Values are shown as JSON, as text, as the number that plugins add to, or in base64.

Examples:
  hookbox kv                              the buckets
  hookbox kv orders --prefix order_1/     keys of one
  hookbox kv orders order_1/state         a value
  hookbox kv set orders order_1/state open --if-absent"
)]
pub(super) struct KvArgs {
    #[command(subcommand)]
    verb: Option<KvVerb>,
    /// The bucket: a plugin's name, unless `kv` of its section names another one
    #[arg(value_name = "BUCKET")]
    bucket: Option<String>,
    /// Show the value of this key
    #[arg(value_name = "KEY")]
    key: Option<String>,
    /// Only keys that begin with this
    #[arg(long, value_name = "TEXT", requires = "bucket", conflicts_with = "key")]
    prefix: Option<String>,
    /// Only keys after this one, in the order of their bytes
    #[arg(long, value_name = "KEY", requires = "bucket", conflicts_with = "key")]
    after: Option<String>,
    /// Keys that are listed, 1 to 500
    #[arg(long, value_name = "N", default_value_t = 50, requires = "bucket",
        value_parser = clap::value_parser!(u16).range(1..=500))]
    limit: u16,
    /// Answer in JSON
    #[arg(long, global = true, display_order = 880)]
    json: bool,
    #[command(flatten)]
    host: HostArg,
}

#[derive(Debug, Subcommand)]
enum KvVerb {
    Set(change::SetArgs),
    Delete(change::DeleteArgs),
}

impl KvArgs {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let client = self.host.client(common)?;
        match &self.verb {
            Some(KvVerb::Set(set)) => {
                set.run(&client, self.json)?;
                return Ok(ExitCode::SUCCESS);
            }
            Some(KvVerb::Delete(delete)) => {
                delete.run(&client, self.json)?;
                return Ok(ExitCode::SUCCESS);
            }
            None => {}
        }
        match (&self.bucket, &self.key) {
            (None, _) => self.buckets(&client)?,
            (Some(bucket), None) => self.keys(&client, bucket)?,
            (Some(bucket), Some(key)) => self.value(&client, bucket, key)?,
        }
        Ok(ExitCode::SUCCESS)
    }

    fn buckets(&self, client: &AdminClient) -> Result<(), Failure> {
        let answer = client.get("/api/v1/kv", &[])?;
        if self.json {
            return print_json(&answer);
        }
        let mut out = Printout::new();
        let items = elements(&answer["items"]);
        if items.is_empty() {
            out.line("no bucket holds anything");
        } else {
            let head = ["BUCKET", "SIZE", "PLUGINS"].map(str::to_owned).to_vec();
            let row = |item: &Value| {
                let plugins: Vec<_> = elements(&item["plugins"]).iter().map(text).collect();
                vec![text(&item["bucket"]), size(item), plugins.join(", ")]
            };
            out.table(&std::iter::once(head).chain(items.iter().map(row)).collect::<Vec<_>>());
        }
        out.print()
    }

    fn keys(&self, client: &AdminClient, bucket: &str) -> Result<(), Failure> {
        let limit = self.limit.to_string();
        let query = [
            ("prefix", self.prefix.as_deref()),
            ("after", self.after.as_deref()),
            ("limit", Some(limit.as_str())),
        ];
        let answer = client.get(&format!("/api/v1/kv/{}", encoded(bucket)), &query)?;
        if self.json {
            return print_json(&answer);
        }
        let mut out = Printout::new();
        let items = elements(&answer["items"]);
        if items.is_empty() {
            out.line("no key");
        } else {
            let head = ["KEY", "SIZE", "VERSION", "EXPIRES", "WRITTEN BY"];
            let head = head.map(str::to_owned).to_vec();
            let row = |item: &Value| {
                let by = |name: &str| text(&item["written_by"][name]);
                let writer = match item["written_by"].is_object() {
                    true => format!("{} #{}", by("delivery_id"), by("attempt")),
                    false => "-".to_owned(),
                };
                let expires = match item["expires_at"].as_str() {
                    Some(at) => printable(at).to_owned(),
                    None => "-".to_owned(),
                };
                vec![text(&item["key"]), size(item), text(&item["version"]), expires, writer]
            };
            out.table(&std::iter::once(head).chain(items.iter().map(row)).collect::<Vec<_>>());
        }
        if let Some(count) = answer["count"].as_u64()
            && !items.is_empty()
        {
            let more = if answer["has_more"] == true { "more than " } else { "" };
            let of = |name: &str| bytes(answer[name].as_u64().unwrap_or_default());
            let holds = format!("the bucket holds {} of {}", of("bytes"), of("max_bytes"));
            out.line(out.ink(Ink::Dim, &format!("{more}{count} keys; {holds}")));
        }
        if let Some(next) = answer["next_after"].as_str() {
            out.line(out.ink(Ink::Dim, &format!("more with --after {}", printable(next))));
        }
        out.print()
    }

    fn value(&self, client: &AdminClient, bucket: &str, key: &str) -> Result<(), Failure> {
        let path = format!("/api/v1/kv/{}/value", encoded(bucket));
        let answer = client.get(&path, &[("key", Some(key))])?;
        if self.json {
            return print_json(&answer);
        }
        let mut out = Printout::new();
        if let Some(value) = answer.get("value") {
            format!("{value:#}").lines().for_each(|line| out.line(printable(line)));
        } else if let Some(value) = answer["value_text"].as_str() {
            out.line(printable(value));
        } else {
            out.field("number", &answer["number"]);
            out.field("base64", &json!(text(&answer["value_base64"])));
        }
        out.print()
    }
}

fn size(item: &Value) -> String {
    bytes(item["bytes"].as_u64().unwrap_or(0))
}
