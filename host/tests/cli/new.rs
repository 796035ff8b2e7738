//! `new`: projects to start from, which are the examples themselves.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::site;

const LANGUAGES: [&str; 5] = ["rust", "js", "python", "go", "c"];

fn plugins() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("plugins")
}

/// Every file below a folder, links followed: its path → what is in it, and whether it can be run.
/// Left out is what the folder's own .gitignore names.
fn files(dir: &Path) -> BTreeMap<String, (Vec<u8>, bool)> {
    let ignored = fs::read_to_string(dir.join(".gitignore")).unwrap();
    let ignored: Vec<&str> = ignored
        .lines()
        .map(|line| line.strip_prefix('/').expect("a name in this folder"))
        .collect();
    let mut found = BTreeMap::new();
    gather(dir, "", &ignored, &mut found);
    found
}

fn gather(
    dir: &Path,
    below: &str,
    ignored: &[&str],
    found: &mut BTreeMap<String, (Vec<u8>, bool)>,
) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let name = format!("{below}{}", entry.file_name().to_str().unwrap());
        let path = entry.path();
        if ignored.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            gather(&path, &format!("{name}/"), ignored, found);
        } else {
            let runs = fs::metadata(&path).unwrap().permissions().mode() & 0o111 == 0o111;
            found.insert(name, (fs::read(&path).unwrap(), runs));
        }
    }
}

#[test]
fn a_project_is_the_example_of_its_language_file_by_file() {
    let site = site();
    for lang in LANGUAGES {
        let name = format!("hello-{lang}");
        let ran = site.run(&["new", &name, "--lang", lang]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
        let (written, example) = (files(&site.path(&name)), files(&plugins().join(&name)));
        assert_eq!(
            written.keys().collect::<Vec<_>>(),
            example.keys().collect::<Vec<_>>(),
            "the files of {name}"
        );
        for (path, file) in &example {
            assert!(written[path] == *file, "{name}/{path} is not what `new` writes");
        }
        assert!(
            example.contains_key("wit/plugin.wit")
                && example.contains_key("cases/success/event.json")
        );
        assert!(example["build"].1, "{name}/build can be run");
    }
}

#[test]
fn the_examples_share_the_interface_and_the_cases() {
    for lang in LANGUAGES {
        let example = plugins().join(format!("hello-{lang}"));
        assert_eq!(fs::read_link(example.join("wit")).unwrap(), Path::new("../../wit"), "{lang}");
        if lang != "rust" {
            assert_eq!(
                fs::read_link(example.join("cases")).unwrap(),
                Path::new("../hello-rust/cases"),
                "{lang}"
            );
        }
    }
}

#[test]
fn a_project_has_the_name_it_was_given_and_no_other() {
    let site = site();
    for lang in LANGUAGES {
        let dir = format!("somewhere/{lang}");
        let ran = site.run(&["new", "My_handler-2", "--lang", lang, "--dir", &dir]);
        assert_eq!((ran.code, ran.err.as_str()), (0, ""), "{ran:?}");
        let files = files(&site.path(&dir));
        for (path, (content, _)) in &files {
            let text = String::from_utf8_lossy(content);
            assert!(!text.contains(&format!("hello-{lang}")), "{lang}: {path} names the example");
        }
        assert!(String::from_utf8_lossy(&files["build"].0).contains("My_handler-2.wasm"), "{lang}");
    }
}

#[test]
fn the_next_commands_are_printed() {
    let site = site();
    let ran = site.run(&["new", "my-handler", "--lang", "go", "--dir", "a b"]);
    let plugins = site.path("plugins").display().to_string();
    let said = [
        "a b is written. Next:\n\n  cd 'a b'\n  ./build\n",
        " test .\n",
        &format!("  cp my-handler.wasm {plugins}/\n\nThen write under [routes] in config.toml:\n"),
        "\n  \"avatar_video.*\" = \"my-handler\"\n",
    ];
    for part in said {
        assert!(ran.out.contains(part), "{part}: {ran:?}");
    }
    let elsewhere = site.run(&["new", "other", "--lang", "go", "--config", "missing.toml"]);
    assert!(
        elsewhere.code == 0 && elsewhere.out.contains("copy other.wasm into the plugins folder"),
        "{elsewhere:?}"
    );
}

#[test]
fn the_route_fits_the_file_also_when_that_has_problems() {
    let site = site();
    site.put(
        "config.toml",
        "[store]\nretention = \"x\"\n[routes]\n\"avatar_video.*\" = [\"fine\", \"absent\"]\n",
    );
    let ran = site.run(&["new", "my-handler", "--lang", "go"]);
    let line = "\n  \"avatar_video.*\" = [\"fine\", \"absent\", \"my-handler\"]\n";
    assert!(
        ran.code == 0 && ran.out.contains(line) && ran.out.contains("in place of the line"),
        "{ran:?}"
    );
}

#[test]
fn who_names_no_language_is_shown_all_of_them() {
    let site = site();
    let ran = site.run(&["new", "x"]);
    assert!(ran.code == 2 && ran.out.is_empty() && !site.path("x").exists(), "{ran:?}");
    for lang in LANGUAGES {
        assert!(ran.err.contains(&format!("--lang {lang} ")), "{lang}: {ran:?}");
    }
    for lang in ["ts", "typescript"] {
        let ran = site.run(&["new", "x", "--lang", lang]);
        assert!(
            ran.code == 2 && ran.err.contains("--lang js") && ran.err.contains("esbuild"),
            "{ran:?}"
        );
    }
}

#[test]
fn what_is_there_is_not_overwritten_and_mistakes_are_explained() {
    let site = site();
    fs::create_dir(site.path("empty")).unwrap();
    fs::create_dir(site.path("full")).unwrap();
    site.put("full/mine", "mine");
    for (arguments, hint) in [
        (&["new", "x"][..], "--lang"),
        (&["new", "--lang", "js"], "<NAME>"),
        (&["new", "x", "--lang", "rst"], "[possible values: rust, js, python, go, c]"),
        (&["new", "x", "--lang", "rst"], "'rust'"),
        (&["new", "my handler", "--lang", "js"], "did you mean `my-handler`?"),
        (&["new", "full", "--lang", "js"], "full is not empty"),
        (&["new", "x", "--lang", "js", "--dir", "config.toml"], "config.toml is a file"),
    ] {
        let ran = site.run(arguments);
        assert!(
            ran.code == 2 && ran.err.contains(hint) && ran.out.is_empty(),
            "{arguments:?}: {ran:?}"
        );
    }
    assert_eq!(fs::read_dir(site.path("full")).unwrap().count(), 1);
    assert!(!site.path("x").exists());
    assert_eq!(
        site.run(&["new", "empty", "--lang", "js"]).code,
        0,
        "an empty folder is as good as none"
    );
}
