//! Files of secrets, swapped as a kubelet does it.

use std::os::unix::fs::symlink;

use rustix::fs::{CWD, FileType, Mode, mknodat};
use secrecy::ExposeSecret;

use super::*;

const FIRST: &str = "the first secret of all";
const SECOND: &str = "the second secret of all";

const SOURCE: &str = "[sources.s]\npreset = \"github\"\nsecrets = [{ file = \"volume/token\" }]\n\
    [plugins.a]\nhttp = [{ host = \"x.example.com\", headers = { X-Key = { file = \"volume/token\" } } }]\n";

/// Writes a volume with one file: a link to one in `..data`, itself a link, which is swapped.
fn swap(site: &Site, number: u32, content: &str) {
    let folder = site.path(&format!("volume/..{number}"));
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("token"), content).unwrap();
    symlink(format!("..{number}"), site.path("volume/..data_tmp")).unwrap();
    fs::rename(site.path("volume/..data_tmp"), site.path("volume/..data")).unwrap();
    if number > 1 {
        fs::remove_dir_all(site.path(&format!("volume/..{}", number - 1))).unwrap();
    } else {
        symlink("..data/token", site.path("volume/token")).unwrap();
    }
}

/// The secret of the source and the credential of the plugin, as they are in use.
fn in_use(config: &Config) -> Option<[String; 2]> {
    let source = config.sources.get("s")?;
    let (Verify::Signature(_), Secrets::Set(secrets)) = (&source.verify, &source.secrets) else {
        return None;
    };
    let secret = String::from_utf8(secrets[0].expose_secret().to_vec()).unwrap();
    let credential = config.plugin("a").grants.http[0].headers[0]
        .value
        .as_ref()
        .unwrap()
        .expose_secret()
        .to_owned();
    Some([secret, credential])
}

impl Site {
    async fn with_volume(pace: ReloadTiming) -> Self {
        let mut site = Self::new().await;
        swap(&site, 1, &format!("{FIRST}\n"));
        site.replace("config.toml", format!("{}{SOURCE}", config_text("\"x.*\" = \"a\"")));
        site.start(pace).await;
        site.until_uses(FIRST).await;
        site
    }

    async fn until_uses(&self, secret: &str) {
        let config = Arc::clone(&self.watched.config);
        self.until(|_| in_use(&config.load()) == Some([secret.to_owned(), secret.to_owned()]))
            .await;
    }

    fn uses(&self, secret: &str) -> bool {
        in_use(&self.watched.config.load()) == Some([secret.to_owned(), secret.to_owned()])
    }
}

#[tokio::test]
async fn a_secret_that_is_swapped_is_taken_at_once() {
    let site = Site::with_volume(EVENTS_ONLY).await;
    swap(&site, 2, SECOND);
    site.until_uses(SECOND).await;
    swap(&site, 3, FIRST);
    site.until_uses(FIRST).await;
    fs::write(site.path("volume/..3/token"), SECOND).unwrap();
    site.until_uses(SECOND).await;
    site.stop().await;
}

#[tokio::test]
async fn a_bad_new_secret_is_told_and_the_last_good_one_stays() {
    let site = Site::with_volume(EVENTS_ONLY).await;
    let said = |words: &'static str| {
        move |condition: &Condition| {
            condition.config.as_ref().is_some_and(|config| config.text.contains(words))
        }
    };
    swap(&site, 2, "");
    site.until(said("held a secret and are empty or absent now")).await;
    swap(&site, 3, "short");
    site.until(said("less than 16 bytes")).await;
    swap(&site, 4, &format!("\"{SECOND}\""));
    site.until(said("begins and ends with a quote")).await;
    fs::remove_file(site.path("volume/..4/token")).unwrap();
    site.until(said("held a secret")).await;
    mknodat(CWD, site.path("volume/..4/token"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    site.until(said("cannot be read: it is a named pipe, not a file")).await;
    assert!(site.uses(FIRST));
    let shown = format!("{:?}", site.watched.status.get());
    assert!(!shown.contains(SECOND) && !shown.contains(FIRST), "{shown}");
    swap(&site, 5, SECOND);
    site.until_uses(SECOND).await;
    assert!(site.watched.status.get().config.is_none());
    site.stop().await;
}

#[tokio::test]
async fn the_file_of_one_of_two_secrets_may_be_removed_and_of_the_last_one_not() {
    let mut site = Site::new().await;
    let [one, other] = ["one", "other"].map(|name| site.path(name));
    fs::write(&one, FIRST).unwrap();
    fs::write(&other, SECOND).unwrap();
    let source =
        "[sources.s]\npreset = \"github\"\nsecrets = [{ file = \"one\" }, { file = \"other\" }]\n";
    site.replace("config.toml", format!("{}{source}", config_text("\"x.*\" = \"a\"")));
    site.start(EVENTS_ONLY).await;
    let config = Arc::clone(&site.watched.config);
    let count = || match &config.load().sources["s"].secrets {
        Secrets::Set(secrets) => secrets.len(),
        _ => 0,
    };
    assert_eq!(count(), 2);
    fs::remove_file(&one).unwrap();
    site.until(|_| count() == 1).await;
    assert!(
        config.load().warnings[0].text.contains("only its other secrets are in use"),
        "it is told"
    );
    fs::remove_file(&other).unwrap();
    site.until(|condition| condition.config.is_some()).await;
    assert_eq!(count(), 1, "nobody could post any more");
    site.stop().await;
}

#[tokio::test]
async fn a_secret_is_taken_without_an_event_and_while_a_plugin_is_missing() {
    let mut site = Site::new().await;
    swap(&site, 1, FIRST);
    site.replace("config.toml", format!("{}{SOURCE}", config_text("\"x.*\" = \"a\"")));
    fs::rename(site.path("plugins"), site.path("away")).unwrap();
    site.start(ReloadTiming { unwatched_poll_ms: 5, ..EVENTS_ONLY }).await;
    site.until_uses(FIRST).await;
    swap(&site, 2, SECOND);
    site.until_uses(SECOND).await;
    assert!(site.watched.status.get().watch.is_some(), "nothing is watched");
    site.stop().await;
}

#[tokio::test]
async fn a_pipe_in_the_place_of_the_configuration_is_told_and_never_waited_for() {
    let mut site = Site::new().await;
    site.start(EVENTS_ONLY).await;
    fs::remove_file(site.path("config.toml")).unwrap();
    mknodat(CWD, site.path("config.toml"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let config = |condition: &Condition| condition.config.clone();
    site.until(|condition| {
        config(condition).is_some_and(|config| config.text.contains("named pipe"))
    })
    .await;
    assert_eq!(site.patterns(), ["x.*"]);
    site.stop().await;
}
