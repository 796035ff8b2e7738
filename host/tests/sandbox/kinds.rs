//! The kinds of file beside a handler component: HTTP handlers, commands, core modules. Each gets
//! the event in its own way and ends as the same verdicts.

use hookbox::cloudevents;

use super::*;

/// A guest in whose text a number is put in place of a word.
fn with(name: &str, word: &str, number: u32) -> Plugin {
    let text = String::from_utf8(file(&format!("tests/guests/{name}.wat"))).unwrap();
    assert!(text.matches(word).count() > 1, "the word stands in the comment and in the code");
    let lines = text.lines().map(|line| {
        if line.starts_with(";;") {
            line.to_owned()
        } else {
            line.replace(word, &number.to_string())
        }
    });
    SANDBOX
        .load(lines.collect::<Vec<_>>().join("\n").as_bytes())
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn shown(plugin: &Plugin) -> String {
    format!("{}@{}", plugin.contract(), plugin.interface_version())
}

#[tokio::test]
async fn an_http_handler_gets_the_event_and_its_answer_is_emitted() {
    let plugin = with("http", "STATUS", 200);
    assert_eq!((plugin.contract(), shown(&plugin).as_str()), (Contract::Http, "http@0.2.0"));
    let body = "{\"a\": 1}\r\n\u{0}é".repeat(10_000);
    let mut event = event("a", &body);
    event.attributes.subject = Some("order 7 % \"é\"".to_owned());
    let done = plugin.invoke(call_with(event)).await;
    let expected = Emitted {
        kind: "guest.echoed".to_owned(),
        subject: Some("order 7 % \"é\"".to_owned()),
        content_type: None,
        data: body.into_bytes(),
        delay_ms: 0,
    };
    assert_eq!(done.verdict, Verdict::Ok(vec![expected]));
}

#[tokio::test]
async fn an_http_handler_asks_for_another_call_by_a_header() {
    let text = String::from_utf8(file("tests/guests/http.wat")).unwrap();
    let append = "(call $append (local.get $fields) (i32.const 512)";
    let asks = |value: &str| {
        let data =
            format!(r#"(data (i32.const 560) "hookbox-again") (data (i32.const 576) "{value}")"#);
        let header = "(call $append (local.get $fields) (i32.const 560) (i32.const 13)
            (i32.const 576) (i32.const 2) (i32.const 0))";
        let text =
            text.replace("STATUS)", "200)").replacen(append, &format!("{header} {append}"), 1);
        SANDBOX.load(text.replacen("(data ", &format!("{data} (data "), 1).as_bytes()).unwrap()
    };
    let done = asks("30").invoke(call()).await;
    assert!(matches!(done.verdict, Verdict::Ok(_)), "{done:?}");
    assert_eq!(done.again, Some(Duration::from_secs(30)));
    let refused = asks("so").invoke(call()).await;
    let Verdict::Error(why) = &refused.verdict else { panic!("{refused:?}") };
    assert!(why.contains("`hookbox-again: so`"), "{why}");
}

#[tokio::test]
async fn the_status_of_an_http_handler_is_its_verdict() {
    let verdict = async |status| with("http", "STATUS", status).invoke(call()).await.verdict;
    for status in [429, 500, 503] {
        let verdict = verdict(status).await;
        let Verdict::Retry { reason, after_ms: None } = &verdict else { panic!("{verdict:?}") };
        assert!(reason.contains(&status.to_string()) && reason.ends_with(": {}"), "{reason}");
    }
    for status in [302, 400, 404] {
        let verdict = verdict(status).await;
        assert!(
            matches!(&verdict, Verdict::Reject(why) if why.contains(&status.to_string())),
            "{verdict:?}"
        );
    }
}

#[tokio::test]
async fn an_http_handler_that_gives_no_answer_is_an_error() {
    let silent = invoke("../hostile/http-silent", call()).await;
    assert_eq!(silent.verdict, Verdict::Error("the handler returned without an answer".to_owned()));
}

#[tokio::test]
async fn a_command_gets_the_event_as_json_and_its_exit_code_is_its_verdict() {
    let run = async |code| {
        with("command", "CODE", code).invoke(call_with(event("a.b", "{\"n\": 1}"))).await
    };
    let plugin = with("command", "CODE", 0);
    assert_eq!(
        (plugin.contract(), shown(&plugin).as_str()),
        (Contract::Command, "command@preview1")
    );
    let done = run(0).await;
    let Verdict::Ok(emitted) = &done.verdict else { panic!("{:?}", done.verdict) };
    assert_eq!(
        (emitted.len(), emitted[0].kind.as_str(), emitted[0].data.as_slice()),
        (1, "guest.emitted", &b"{\"n\":1}"[..])
    );
    assert_eq!(emitted[0].subject.as_deref(), Some("order_1"), "a subject is inherited");
    let document = cloudevents::read(done.logs[0].message.as_bytes()).unwrap();
    assert_eq!((document.kind.as_str(), document.data.as_slice()), ("a.b", &b"{\"n\": 1}"[..]));
    assert_eq!(log(&done)[1..], ["info: not today", "info: hello"]);
    assert_eq!(run(65).await.verdict, Verdict::Reject("not today".to_owned()), "EX_DATAERR");
    for code in [1, 75, 125] {
        assert_eq!(
            run(code).await.verdict,
            Verdict::Retry { reason: "not today".to_owned(), after_ms: None }
        );
    }
}

#[tokio::test]
async fn a_command_may_be_a_component() {
    let plugin = with("run", "CODE", 0);
    assert_eq!((plugin.contract(), shown(&plugin).as_str()), (Contract::Command, "command@0.2.0"));
    assert_eq!(plugin.invoke(call()).await.verdict, Verdict::Ok(Vec::new()));
    let failed = with("run", "CODE", 1).invoke(call()).await.verdict;
    let reason = "the command exited with code 1 and said nothing".to_owned();
    assert_eq!(failed, Verdict::Retry { reason, after_ms: None });
}

#[tokio::test]
async fn a_command_is_held_to_the_same_limits() {
    let verdict = invoke("../hostile/command-loop", short_call()).await.verdict;
    assert!(matches!(verdict, Verdict::Timeout(_)), "{verdict:?}");
    let verdict = invoke("../hostile/command-memory", call()).await.verdict;
    assert!(matches!(verdict, Verdict::Memory(_)), "{verdict:?}");
}

/// A core module as bindings generators leave it: `handle` rejects without a word, and a section
/// names the world.
fn core_handler(more: &str) -> Vec<u8> {
    let text = format!(
        r#"(module {more}
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "hookbox:plugin/handler@0.1.1#handle") (param i32) (result i32)
                (i32.store (i32.const 16) (i32.const 1))
                (i32.store (i32.const 24) (i32.const 1))
                (i32.const 16)))"#
    );
    let mut module = wat::parse_str(text).unwrap();
    let mut resolve = wit_parser::Resolve::default();
    let (package, _) =
        resolve.push_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit")).unwrap();
    let world = resolve.select_world(&[package], Some("plugin")).unwrap();
    let encoding = wit_component::StringEncoding::UTF8;
    wit_component::embed_component_metadata(&mut module, &resolve, world, encoding, false).unwrap();
    module
}

#[tokio::test]
async fn a_core_module_that_names_its_world_is_made_a_component() {
    let preview1 =
        "(import \"wasi_snapshot_preview1\" \"random_get\" (func (param i32 i32) (result i32)))";
    for more in ["", preview1] {
        let plugin = SANDBOX.load(&core_handler(more)).unwrap();
        assert_eq!(shown(&plugin), "handler@0.1.1");
        assert_eq!(plugin.invoke(call()).await.verdict, Verdict::Reject(String::new()));
    }
}

#[test]
fn a_core_module_of_go_is_not_given_the_adapter_that_would_corrupt_it() {
    let go = "(@custom \"go:buildid\" \"x\")";
    assert!(SANDBOX.load(&core_handler(go)).is_ok(), "without preview 1 there is no adapter");
    let preview1 =
        "(import \"wasi_snapshot_preview1\" \"random_get\" (func (param i32 i32) (result i32)))";
    let message = refusal(&core_handler(&format!("{preview1} {go}")));
    assert!(message.contains("GOOS=wasip1 GOARCH=wasm go build"), "{message}");
}

#[test]
fn a_core_module_that_does_not_fit_its_world_is_refused() {
    let whole = core_handler("");
    let name = b"hookbox:plugin/handler@0.1.1#handle";
    let at = whole.windows(name.len()).position(|part| part == name).unwrap();
    let mut other = whole.clone();
    other[at + name.len() - 1] = b'x';
    let message = refusal(&other);
    assert!(message.contains("cannot be made a component"), "{message}");
}

#[tokio::test]
async fn a_core_module_that_is_nothing_is_refused_with_what_to_do() {
    let message = refusal(b"(module (func (export \"run\")))");
    assert!(message.contains("exports run") && message.contains("`_start`"), "{message}");
    let message = refusal(b"(module (import \"env\" \"f\" (func)) (func (export \"_start\")))");
    assert!(message.contains("env.f") && message.contains("wasi_snapshot_preview1"), "{message}");
}

/// The residue guest keeps what it was called with in its memory and fails if it finds something
/// there already.
#[tokio::test]
async fn a_warm_instance_remembers_and_a_fresh_one_does_not() {
    let plugin = guest("residue");
    for _ in 0..3 {
        assert_eq!(plugin.invoke(call()).await.verdict, Verdict::Ok(Vec::new()));
    }
    let warm = || Call { reuse: true, ..call() };
    assert_eq!(
        plugin.invoke(warm()).await.verdict,
        Verdict::Ok(Vec::new()),
        "the first is a new one"
    );
    assert!(
        matches!(plugin.invoke(warm()).await.verdict, Verdict::Trap(_)),
        "the second is the same one"
    );
    assert_eq!(
        plugin.invoke(warm()).await.verdict,
        Verdict::Ok(Vec::new()),
        "a trap ends an instance"
    );
    assert_eq!(
        plugin.invoke(call()).await.verdict,
        Verdict::Ok(Vec::new()),
        "fresh is fresh, whatever is kept"
    );
}

/// How often the instance that was called had been called, this call included.
async fn calls(plugin: &Plugin, call: Call) -> u64 {
    match plugin.invoke(call).await.verdict {
        Verdict::Retry { after_ms: Some(calls), .. } => calls,
        other => panic!("{other:?}"),
    }
}

fn warm() -> Call {
    Call { reuse: true, ..call() }
}

#[tokio::test]
async fn a_warm_instance_serves_256_events() {
    let plugin = guest("count");
    for expected in (1..=256).chain(1..=2) {
        assert_eq!(calls(&plugin, warm()).await, expected);
    }
}

#[tokio::test]
async fn a_call_apart_leaves_kept_instances_as_they_are() {
    let two_places = sandbox(2, 2);
    let plugin = two_places.load(&file("tests/guests/count.wat")).unwrap();
    assert_eq!(calls(&plugin, warm()).await, 1);
    for reuse in [false, true] {
        let apart = Call { reuse, is_apart: true, ..call() };
        assert_eq!(calls(&plugin, apart).await, 1, "it has an instance of its own");
    }
    assert_eq!(calls(&plugin, warm()).await, 2, "the kept one is still there");
}

#[tokio::test]
async fn a_plugin_that_keeps_instances_does_not_keep_them_from_others() {
    let one_place = sandbox(2, 1);
    let [first, second] =
        [(), ()].map(|()| one_place.load(&file("tests/guests/count.wat")).unwrap());
    assert_eq!((calls(&first, warm()).await, calls(&first, warm()).await), (1, 2));
    assert_eq!(
        (calls(&second, warm()).await, calls(&second, warm()).await),
        (1, 2),
        "the first one gave its place up"
    );
    assert_eq!(calls(&first, warm()).await, 1);
}

#[tokio::test]
async fn a_warm_instance_reads_what_the_second_call_brings() {
    let plugin = guest("config");
    for greeting in ["good morning", "good evening"] {
        let config = Arc::new(BTreeMap::from([("greeting".to_owned(), greeting.to_owned())]));
        let done = plugin.invoke(Call { config, ..warm() }).await;
        assert_eq!(log(&done), [format!("info: {greeting}")]);
    }
    assert_eq!(
        plugin.invoke(warm()).await.verdict,
        Verdict::Reject(String::new()),
        "and nothing of the one before"
    );
}

#[tokio::test]
async fn a_command_that_lives_with_a_refusal_of_memory_keeps_its_exit_code() {
    let verdict = async |code| with("command-refused", "CODE", code).invoke(call()).await.verdict;
    assert_eq!(verdict(0).await, Verdict::Ok(Vec::new()));
    assert!(matches!(verdict(65).await, Verdict::Reject(_)));
    assert!(matches!(verdict(75).await, Verdict::Retry { .. }));
    assert!(matches!(verdict(1).await, Verdict::Memory(_)), "it gave up");
}
