//! `hookbox provider`: the API of a source's provider. It registers the source's address, rotates
//! its secret, and shows the events that the provider knows of.

use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::Common;
use super::failure::Failure;

mod callback;
mod endpoints;
mod events;
mod secret_files;
mod talk;

pub(super) use talk::Talk;

#[derive(Debug, Args)]
#[command(after_help = "\
The key of the API is `api_key` of the source; by default it is in an environment variable such as HEYGEN_API_KEY. \
The secret that a registration returns is kept in `data_dir`, under secrets/, and is active at once where `secrets` \
names { registered = true }, which is the default of these providers.

Examples:
  hookbox provider heygen register                register this host's address
  hookbox provider heygen register --dry-run      show the request, send nothing
  hookbox provider heygen list
  hookbox provider heygen rotate                  the old secret stays a while
  hookbox provider heygen events --limit 5
  hookbox provider heygen delete")]
pub(super) struct ProviderArgs {
    /// A source of the configuration whose preset has a known API
    #[arg(value_name = "SOURCE")]
    source: String,
    /// Show the request, with the key masked, and send nothing
    #[arg(long, global = true, display_order = 870)]
    dry_run: bool,
    /// Answer in JSON
    #[arg(long, global = true, display_order = 880)]
    json: bool,
    #[command(subcommand)]
    verb: ProviderVerb,
}

#[derive(Debug, Subcommand)]
enum ProviderVerb {
    /// Register the source's address, and keep the secret
    #[command(after_help = "\
Examples:
  hookbox provider heygen register
  hookbox provider heygen register --event avatar_video.success
  hookbox provider heygen register --url https://example.com/webhook/heygen")]
    Register(AddressArgs),
    /// List what is registered at the provider
    #[command(after_help = "\
Examples:
  hookbox provider heygen list
  hookbox provider heygen list --json")]
    List,
    /// Replace the address and the types of what is registered
    #[command(after_help = "\
Without --event it is for every type afterwards.

Examples:
  hookbox provider heygen update
  hookbox provider heygen update --url https://new.example.com/webhook/heygen")]
    Update(UpdateArgs),
    /// Have the provider make another secret; the old one stays active for `overlap`
    #[command(after_help = "\
With --endpoint it also takes over an endpoint that was registered elsewhere: its secret is shown only when it is made.

Examples:
  hookbox provider heygen rotate
  hookbox provider heygen rotate --endpoint ep_1")]
    Rotate(EndpointArgs),
    /// Remove what is registered, and its secret
    #[command(after_help = "\
Examples:
  hookbox provider heygen delete
  hookbox provider heygen delete --endpoint ep_1")]
    Delete(EndpointArgs),
    /// List events that the provider knows of, newest first
    #[command(after_help = "\
Nothing is stored. With `reconcile` under the source, a host asks by itself and stores what is missing.

Examples:
  hookbox provider heygen events
  hookbox provider heygen events --limit 5 --json")]
    Events(EventsArgs),
    /// Print the address for callbacks of single jobs, which are not signed
    #[command(after_help = "\
The address ends in a token that is made once and kept in `data_dir`. The host takes what comes there if the source has \
`callback`.

Examples:
  hookbox provider heygen callback-url
  hookbox provider heygen callback-url --new      the old address ends at once")]
    CallbackUrl(CallbackArgs),
}

#[derive(Debug, Args)]
struct CallbackArgs {
    /// Make another token
    #[arg(long)]
    new: bool,
}

#[derive(Debug, Args)]
struct AddressArgs {
    /// The address to register [default: `public_url` and /webhook/SOURCE]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A type of events to get; may be repeated [default: every type]
    #[arg(long = "event", value_name = "TYPE")]
    events: Vec<String>,
}

#[derive(Debug, Args)]
struct UpdateArgs {
    #[command(flatten)]
    address: AddressArgs,
    #[command(flatten)]
    endpoint: EndpointArgs,
}

#[derive(Debug, Args)]
struct EndpointArgs {
    /// The provider's id of an endpoint [default: the one that was registered here]
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
}

#[derive(Debug, Args)]
struct EventsArgs {
    /// The most events to show
    #[arg(
        long, value_name = "N", default_value_t = 20,
        value_parser = clap::value_parser!(u32).range(1..=10_000)
    )]
    limit: u32,
}

impl ProviderArgs {
    pub(super) fn run(&self, common: &Common) -> Result<ExitCode, Failure> {
        let talk = Talk::new(common, &self.source, (self.dry_run, self.json))?;
        match &self.verb {
            ProviderVerb::Register(AddressArgs { url, events }) => {
                talk.register(url.as_deref(), events)?
            }
            ProviderVerb::List => talk.list()?,
            ProviderVerb::Update(UpdateArgs { address, endpoint }) => {
                let AddressArgs { url, events } = address;
                talk.update(endpoint.endpoint.as_deref(), url.as_deref(), events)?
            }
            ProviderVerb::Rotate(EndpointArgs { endpoint }) => talk.rotate(endpoint.as_deref())?,
            ProviderVerb::Delete(EndpointArgs { endpoint }) => talk.delete(endpoint.as_deref())?,
            ProviderVerb::CallbackUrl(CallbackArgs { new }) => callback::show(&talk, *new)?,
            ProviderVerb::Events(EventsArgs { limit }) => events::show(&talk, *limit)?,
        }
        Ok(ExitCode::SUCCESS)
    }
}
