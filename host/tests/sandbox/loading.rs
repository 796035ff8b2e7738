//! Files that become plugins, and the refusals of files that do not.

use super::*;

#[tokio::test]
async fn half_a_file_is_refused() {
    let whole = file("../plugins/audit.wasm");
    for length in [4, 100, whole.len() / 2, whole.len() - 1] {
        let message = refusal(&whole[..length]);
        assert!(
            message.starts_with("the file is not a valid component, or not complete: "),
            "{length}: {message}"
        );
    }
}

#[test]
fn a_file_that_is_not_a_plugin_is_refused_by_name() {
    let ok = String::from_utf8(file("tests/guests/ok.wat")).unwrap();
    let nested = |exports: &str| format!("(component (instance $i) {exports})").into_bytes();
    let cases: [(Vec<u8>, &str); 14] = [
        (Vec::new(), "the file is empty"),
        (b"\0as".to_vec(), "is not WebAssembly"),
        (b"\0asm\x0d\0".to_vec(), "not complete"),
        (b"\0asm\x09\0\x09\0".to_vec(), "is not WebAssembly"),
        (vec![0xff; 1000], "is not WebAssembly"),
        (b"#!/bin/sh\necho hello\n".to_vec(), "is not WebAssembly"),
        (b"\x7fELF\x02\x01".to_vec(), "precompiled machine code"),
        (b"(component".to_vec(), "WebAssembly text has an error"),
        (b"(module)".to_vec(), "a core module that does not say what it is: it exports nothing"),
        (nested("(export \"wasi:cli/run@0.2.3\" (instance $i))"), "does not fit this host"),
        (
            nested("(export \"wasi:http/incoming-handler@0.2.3\" (instance $i))"),
            "does not fit this host",
        ),
        (
            nested("(export \"wasi:cli/run@0.3.0\" (instance $i))"),
            "exports wasi:cli/run@0.3.0, and this host runs 0.2",
        ),
        (b"(component)".to_vec(), "it exports nothing"),
        (
            ok.replace("handler@0.1.0", "handler@0.2.0").into_bytes(),
            "exports hookbox:plugin/handler@0.2.0, and this host runs 0.1.1",
        ),
    ];
    for (bytes, expected) in cases {
        let message = refusal(&bytes);
        assert!(message.contains(expected), "{message}");
    }
}

#[test]
fn an_import_that_the_host_does_not_offer_is_named() {
    let message = refusal(&file("tests/hostile/unknown-import.wat"));
    assert!(
        message.starts_with("it imports acme:secrets/vault@1.0.0, which this host does not offer"),
        "{message}"
    );
    let config = String::from_utf8(file("tests/guests/config.wat")).unwrap();
    let message = refusal(
        config
            .replace("\"get\" (func (param", "\"peek\" (func (param")
            .replace("$config \"get\"", "$config \"peek\"")
            .as_bytes(),
    );
    assert!(message.contains("does not fit this host") && message.contains("peek"), "{message}");
}

#[test]
fn a_handler_of_another_shape_is_refused_when_it_is_loaded() {
    let ok = String::from_utf8(file("tests/guests/ok.wat")).unwrap();
    let error =
        SANDBOX.load(ok.replace("(export \"handle\" (func $handle))", "").as_bytes()).unwrap_err();
    assert!(matches!(error, LoadError::Mismatch(_)), "{error}");
}

/// The file is `plugins/hello-c` as it was built against version 0.1.0 of `wit/`.
#[tokio::test]
async fn a_plugin_that_was_built_for_version_0_1_0_runs_unchanged() {
    let plugin = SANDBOX.load(&file("tests/sandbox/hello-0.1.0.wasm")).unwrap();
    assert_eq!(plugin.interface_version(), "0.1.0");
    let body = r#"{"event_data":{"callback_id":"order_1","video_url":"https://a/"}}"#;
    let done = plugin.invoke(call_with(event("avatar_video.success", body))).await;
    let Verdict::Ok(emitted) = &done.verdict else { panic!("{done:?}") };
    assert_eq!(emitted[0].kind, "order.video_ready");
    assert!(log(&done).contains(&"info: Video ready: https://a/".to_owned()), "{done:?}");
}

#[tokio::test]
async fn a_plugin_of_a_later_patch_version_runs() {
    let ok = String::from_utf8(file("tests/guests/ok.wat")).unwrap();
    let plugin = SANDBOX.load(ok.replace("@0.1.0", "@0.1.9").as_bytes()).unwrap();
    assert_eq!(plugin.interface_version(), "0.1.9");
    assert_eq!(plugin.invoke(call()).await.verdict, Verdict::Ok(Vec::new()));
}
