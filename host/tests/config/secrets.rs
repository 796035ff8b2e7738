//! Where secrets come from, and that they go nowhere else.

use std::fs;

use hookbox::config::source::{KeyEncoding, Secrets};
use hookbox::config::{Config, MakeSecrets, presets};
use secrecy::ExposeSecret;

use super::home::{ACME, Home, keys, signature};

#[test]
fn secrets_are_found_where_the_file_says() {
    let mut home = Home::new();
    fs::write(home.folder.path().join("secret.txt"), "fedcba9876543210\r\n").unwrap();
    home.env.push(("CODED", "whsec_MDEyMzQ1Njc4OWFiY2RlZg=="));
    let list = "[{ env = \"ACME_SECRET\" }, { env = \"ABSENT\" }, { file = \"absent.txt\" }, { file = \"secret.txt\" }]";
    let config = home.good(&ACME.replace("[{ env = \"ACME_SECRET\" }]", list));
    assert_eq!(
        keys(&signature(&config, "acme").0.secrets),
        [b"0123456789abcdef", b"fedcba9876543210"]
    );
    let config =
        home.good("[sources.sw]\npreset = \"standard-webhooks\"\nsecrets = [{ env = \"CODED\" }]");
    assert_eq!(keys(&signature(&config, "sw").0.secrets), [b"0123456789abcdef"]);
    let config =
        home.good("[sources.heygen]\npreset = \"heygen\"\nsecrets = [{ env = \"CODED\" }]");
    assert_eq!(keys(&signature(&config, "heygen").0.secrets), [b"whsec_MDEyMzQ1Njc4OWFiY2RlZg=="]);
    assert!(!format!("{config:?}").contains("MDEyMzQ1"), "a secret is shown");
}

#[test]
fn bad_secrets_are_refused_and_never_shown() {
    let mut home = Home::new();
    home.env.push(("SHORT", "0123456789abcde"));
    home.env.push(("NOT_CODED", "whsec_!0123456789abcdef"));
    let with = |list: &str| ACME.replace("[{ env = \"ACME_SECRET\" }]", list);
    for (list, says) in [
        ("\"0123456789abcdef\"", "holds a literal value"),
        ("[\"0123456789abcdef\"]", "holds a literal value"),
        ("[{ env = \"whsec_0123456789abcdef\" }]", "is not the name of an environment variable"),
        ("[{ env = \"0123456789abcdef=\" }]", "is not the name of an environment variable"),
        ("[{ value = \"0123456789abcdef\", env = \"ACME_SECRET\" }]", "is not a key of hookbox"),
        ("[{ secret = \"0123456789abcdef\", env = \"ACME_SECRET\" }]", "is not a key of hookbox"),
        (
            "[{ env = \"SHORT\" }]",
            "the environment variable `SHORT`, which holds a secret of less than 16 bytes",
        ),
        ("[{ env = \"ACME_SECRET\", file = \"x\" }]", "exactly one place"),
        ("[{}]", "exactly one place"),
        ("[{}, {}, {}, {}, {}, {}, {}, {}, \"0123456789abcdef\"]", "too many entries"),
        ("[]", "is empty"),
        ("[{ file = \"plugins\" }]", "cannot be read"),
    ] {
        let problems = home.bad(&with(list));
        assert!(problems.summary().contains(says), "{problems}");
        for shown in [problems.render(false), problems.summary()] {
            assert!(!shown.contains("0123456789"), "a secret is shown: {shown}");
        }
    }
    let open = "verify = { scheme = \"none\" }\nsecrets = [\"0123456789abcdef\"]";
    let unused =
        home.bad(&format!("[sources.acme]\ntype = {{ fixed = \"a\" }}\n{open}")).render(false);
    assert!(!unused.contains("0123456789"), "a secret is shown: {unused}");
    home.refuses(
        "[sources.sw]\npreset = \"standard-webhooks\"\nsecrets = [{ env = \"NOT_CODED\" }]",
        &["`NOT_CODED`", "not base64"],
    );
}

#[test]
fn a_secret_that_is_not_set_is_made_on_loopback_only() {
    let mut home = Home::new();
    let source = "[sources.heygen]\npreset = \"heygen\"\nsecrets = [{ env = \"ABSENT\" }]\n";
    let missing = |config: &Config| match &signature(config, "heygen").0.secrets {
        Secrets::Missing(text) => text.clone(),
        other => panic!("{other:?}"),
    };
    let data = home.folder.path().join("data");
    assert!(missing(&home.good(source)).contains(
        "it has no secret yet. Looked for: variable `ABSENT`. `hookbox serve` makes one"
    ));
    assert!(!data.exists(), "nothing is created without being asked");

    home.make_secrets = MakeSecrets::Yes;
    home.bad(&format!("{source}[server]\nx = 1"));
    assert!(!data.exists(), "nothing is created for a bad file");
    let public = format!("{source}[server]\nlisten = \"0.0.0.0:3000\"");
    assert!(missing(&home.good(&public)).contains("variable `ABSENT`. Every post is refused"));
    assert!(!data.exists(), "nothing is created for a public listener");

    let made = |config: &Config| match &signature(config, "heygen").0.secrets {
        Secrets::Generated { secret, path } => (secret.expose_secret().to_vec(), path.clone()),
        other => panic!("{other:?}"),
    };
    let (secret, path) = made(&home.good(source));
    assert_eq!(path, data.join("secrets/heygen"));
    assert!(secret.starts_with(b"whsec_"));
    home.make_secrets = MakeSecrets::No;
    assert_eq!(made(&home.good(source)).0, secret);
    assert!(matches!(signature(&home.good(&public), "heygen").0.secrets, Secrets::Missing(_)));

    fs::write(&path, "short\n").unwrap();
    home.refuses(source, &["data/secrets/heygen", "delete that file"]);
}

#[test]
fn behind_a_proxy_on_this_machine_no_secret_is_made_and_an_older_one_is_not_used() {
    let mut home = Home::new();
    home.make_secrets = MakeSecrets::Yes;
    let source = "[sources.heygen]\npreset = \"heygen\"\n";
    let made = home.folder.path().join("data/secrets/heygen");
    let with = |line: &str| format!("[server]\n{line}\n{source}");
    let reached = [
        ("public_url = \"https://hooks.example.com\"", "`server.public_url` is set"),
        ("trusted_proxies = [\"127.0.0.1\"]", "`server.trusted_proxies` is set"),
    ];
    let refused = |line: &str, why: &str| {
        let config = home.good(&with(line));
        let Secrets::Missing(text) = &signature(&config, "heygen").0.secrets else {
            panic!("{line}: there is a secret");
        };
        let warning = config.warnings.iter().find(|it| it.text.contains("no secret")).unwrap();
        assert!(warning.degrades && warning.text.ends_with(text.as_str()), "{}", warning.text);
        for said in [
            "Looked for: variable `HEYGEN_WEBHOOK_SECRET`; file ",
            "data/secrets/heygen.registered (`hookbox provider heygen register` makes it)",
            "Every post is refused with 503 until one is set, because others reach this host: ",
            why,
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        text.clone()
    };
    for (line, why) in reached {
        assert!(!refused(line, why).contains("not used") && !made.exists());
    }
    // Where no provider can come from, it is a secret for tests.
    for line in ["public_url = \"http://localhost:3000\"", "trusted_proxies = []"] {
        let config = home.good(&with(line));
        assert!(matches!(signature(&config, "heygen").0.secrets, Secrets::Generated { .. }));
    }
    let before = fs::read(&made).unwrap();
    for (line, why) in reached {
        let said =
            format!("The secret that this host made for tests, in {}, is not", made.display());
        assert!(refused(line, why).contains(&said));
        let partial = home.partial(&format!("{}[store]\nx = 1", with(line))).take_source("heygen");
        assert!(matches!(partial.unwrap().unwrap().secrets, Secrets::Missing(_)), "{line}");
    }
    assert_eq!(fs::read(&made).unwrap(), before, "it stays");
}

#[test]
fn a_made_secret_fits_every_preset() {
    let mut home = Home::new();
    home.make_secrets = MakeSecrets::Yes;
    let keyed = presets::NAMES
        .into_iter()
        .filter(|name| presets::find(name).is_some_and(|preset| preset.signature.has_secrets()));
    for name in keyed {
        let address = match presets::find(name).unwrap().signature.needs_url() {
            true => "\nverify = { public_url = \"https://hooks.example.com\" }",
            false => "",
        };
        let preset = presets::find(name).unwrap();
        let params = preset.signature.needed_params().into_iter();
        let params: String = params.map(|it| format!("\nparams = {{ {it} = \"x\" }}")).collect();
        let config = home.good(&format!(
            "[sources.{name}]\npreset = \"{name}\"\nsecrets = [{{ env = \"ABSENT\" }}]{address}{params}"
        ));
        let Secrets::Generated { secret, path } = &signature(&config, name).0.secrets else {
            panic!("{name}")
        };
        let text = fs::read_to_string(path).unwrap();
        let format = presets::find(name).unwrap().key;
        let coded = format.encoding != KeyEncoding::Utf8;
        let is_plain = format.encoding == KeyEncoding::Sha1 || !coded;
        let shown = if !is_plain { format.prefix.as_str() } else { "whsec_" };
        assert!(text.starts_with(shown), "{name}");
        let length = match format.encoding {
            KeyEncoding::Utf8 => text.trim_end().len(),
            KeyEncoding::Sha1 => 20,
            KeyEncoding::Base64 | KeyEncoding::Hex => 32,
        };
        assert_eq!(secret.expose_secret().len(), length);
    }
}
