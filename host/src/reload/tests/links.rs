//! Links on the way to a file, and a plugin that is not there yet.

use std::os::unix::fs::symlink;

use super::*;
use crate::config::MissingPlugins;

/// Puts a link in the place of another, at once.
fn relink(site: &Site, name: &str, target: &str) {
    symlink(target, site.path("new")).unwrap();
    fs::rename(site.path("new"), site.path(name)).unwrap();
}

#[tokio::test]
async fn a_plugins_folder_that_is_a_link_is_followed_when_it_moves() {
    let mut site = Site::new().await;
    fs::create_dir(site.path("releases")).unwrap();
    fs::rename(site.path("plugins"), site.path("releases/1")).unwrap();
    fs::create_dir(site.path("releases/2")).unwrap();
    fs::write(site.path("releases/2/a.wat"), good(2)).unwrap();
    fs::write(site.path("releases/2/b.wat"), good(3)).unwrap();
    symlink("releases/1", site.path("plugins")).unwrap();
    site.start(EVENTS_ONLY).await;
    let first = site.watched.registry.load().loaded("a").unwrap().digest;
    relink(&site, "plugins", "releases/2");
    site.until_state("b", "loaded").await;
    let registry = Arc::clone(&site.watched.registry);
    site.until(|_| registry.load().loaded("a").is_some_and(|loaded| loaded.digest != first)).await;
    fs::write(site.path("releases/2/c.wat"), good(4)).unwrap();
    site.until_state("c", "loaded").await;
    site.stop().await;
}

#[tokio::test]
async fn what_a_link_in_the_folder_leads_to_is_watched() {
    let mut site = Site::new().await;
    fs::create_dir(site.path("plugins/releases")).unwrap();
    fs::write(site.path("plugins/releases/b-1.wat"), good(2)).unwrap();
    symlink("releases/b-1.wat", site.path("plugins/b.wat")).unwrap();
    site.start(EVENTS_ONLY).await;
    site.until_state("b", "loaded").await;
    let digest = || site.watched.registry.load().loaded("b").map(|loaded| loaded.digest);
    let first = digest();
    site.replace("plugins/releases/b-1.wat", good(3));
    site.until(|_| digest() != first).await;
    let second = digest();
    fs::write(site.path("plugins/releases/b-2.wat"), good(4)).unwrap();
    relink(&site, "plugins/b.wat", "releases/b-2.wat");
    site.until(|_| digest() != second).await;
    site.stop().await;
}

#[tokio::test]
async fn a_plugin_that_is_missing_at_the_start_is_taken_when_it_comes_and_no_change_routes_to_it_before()
 {
    let mut site = Site::new().await;
    fs::remove_file(site.path("plugins/a.wat")).unwrap();
    assert!(
        Config::load(&site.path("config.toml"), MakeSecrets::No).is_err(),
        "`check` refuses it"
    );
    let config =
        Config::load_with(&site.path("config.toml"), MakeSecrets::No, MissingPlugins::Wait)
            .unwrap();
    assert!(
        config.warnings[0].text.contains("names the unknown plugin `a`"),
        "{:?}",
        config.warnings
    );
    let registry =
        Registry::begin(&site.watched.context).await.registry.with_routed(&config.routes);
    site.watched.registry.store(Arc::new(registry));
    site.start(EVENTS_ONLY).await;
    site.until_state("a", "missing").await;
    assert!(site.watched.status.get().config.is_none(), "it is what runs");
    site.replace("config.toml", config_text("\"y.*\" = \"a\""));
    site.until(|condition| condition.config.is_some()).await;
    assert_eq!(site.patterns(), ["x.*"]);
    // Another file that routes to it as before is taken, and with it a secret that has changed.
    site.replace("config.toml", config_text("\"x.*\" = \"a\"\n\"z.*\" = \"b\""));
    fs::write(site.path("plugins/b.wat"), good(2)).unwrap();
    site.until(|condition| condition.config.is_none()).await;
    assert_eq!(site.patterns(), ["x.*", "z.*"]);
    site.replace("config.toml", config_text("\"y.*\" = \"a\""));
    site.until(|condition| condition.config.is_some()).await;
    fs::write(site.path("plugins/a.wat"), good(1)).unwrap();
    site.until(|condition| condition.config.is_none()).await;
    assert_eq!(site.patterns(), ["y.*"]);
    site.until_state("a", "loaded").await;
    site.stop().await;
}
