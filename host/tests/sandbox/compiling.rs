//! A child that compiles: what it makes, what it says of a file that is none, and how it ends when
//! a file wants too much.

use std::path::PathBuf;
use std::process::Command;

use hookbox::sandbox::{Cache, ChildCompiler, CodeSource, CompileLimits, Compiler, Confinement};

use super::*;
use crate::support::wait_for;

/// Limits that no file of these tests reaches unless it is meant to.
fn limits() -> CompileLimits {
    CompileLimits { wall_ms: 120_000, ..CompileLimits::default() }
}

fn confined(change: impl FnOnce(&mut Confinement)) -> CompileLimits {
    let mut limits = limits();
    change(&mut limits.confinement);
    limits
}

fn compiler(program: impl Into<PathBuf>, limits: CompileLimits, cache: Option<Cache>) -> Compiler {
    let temp_dir = std::env::temp_dir();
    Compiler::Child(Arc::new(ChildCompiler { program: program.into(), cache, temp_dir, limits }))
}

fn child(limits: CompileLimits) -> Compiler {
    compiler(env!("CARGO_BIN_EXE_hookbox"), limits, None)
}

async fn refused(compiler: &Compiler, file: &[u8]) -> String {
    compiler.load(&SANDBOX, file.to_vec().into()).await.expect_err("it is refused").to_string()
}

#[tokio::test]
async fn what_a_child_made_runs_and_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let cache = Cache::at(dir.path().join("cache"));
    for name in ["ok", "retry", "../hostile/http-silent", "../hostile/command-loop"] {
        let file = file(&format!("tests/guests/{name}.wat"));
        let compiler = compiler(env!("CARGO_BIN_EXE_hookbox"), limits(), Some(cache.clone()));
        assert!(compiler.cached(&SANDBOX, &file).is_none());
        let (made, origin) = compiler.load(&SANDBOX, file.clone().into()).await.unwrap();
        assert!(matches!(origin, CodeSource::Compiled { .. }), "{name}: {origin:?}");
        let (kept, origin) = compiler.load(&SANDBOX, file.clone().into()).await.unwrap();
        assert_eq!(origin, CodeSource::Cache, "{name}");
        let here = SANDBOX.load(&file).unwrap();
        for plugin in [made, kept, compiler.cached(&SANDBOX, &file).unwrap().unwrap()] {
            assert_eq!(
                (plugin.contract(), plugin.imports()),
                (here.contract(), here.imports()),
                "{name}"
            );
            let verdict = plugin.invoke(short_call()).await.verdict;
            assert_eq!(verdict, here.invoke(short_call()).await.verdict, "{name}");
        }
    }
}

#[tokio::test]
async fn a_child_refuses_a_file_in_the_words_of_this_process() {
    let audit = file("../plugins/audit.wasm");
    let text =
        b"(component\n  (core module $m (func (result i32) (i64.const 1)))\n  (nonsense \x1b[31m))"
            .to_vec();
    let files: [&[u8]; 9] = [
        b"",
        b"\0as",
        b"\0asm\x0d\0",
        b"#!/bin/sh\n",
        b"\x7fELF\x02\x01",
        b"(component",
        b"(module (func (result i32) (i64.const 1)) (export \"_start\" (func 0)))",
        &text,
        &audit[..audit.len() / 2],
    ];
    let child = child(limits());
    for file in files {
        assert_eq!(refused(&child, file).await, refusal(file));
    }
    // Compiled, and then refused for what it is.
    for file in [b"(component)".to_vec(), file("tests/hostile/unknown-import.wat")] {
        assert_eq!(refused(&child, &file).await, refusal(&file));
    }
}

#[tokio::test]
async fn a_file_that_wants_too_much_ends_the_child_and_says_what_ran_out() {
    let bomb = crate::hostile::file("values-many");
    let cases = [
        (
            confined(|of| of.cpu_s = 1),
            "the compiler ran out of time: it may use 1 s of CPU time for a file",
        ),
        (
            confined(|of| of.memory_bytes = 200 << 20),
            "the compiler ran out of memory: it may use 200 MiB for a file",
        ),
        (
            CompileLimits { wall_ms: 500, ..limits() },
            "the compiler did not finish within 1 s, in which it got less than the 120 s of CPU time that it may use: the \
             machine is busy",
        ),
    ];
    for (limits, expected) in cases {
        assert_eq!(refused(&child(limits), &bomb).await, expected);
    }
    let little = confined(|of| of.code_bytes = 2 << 10);
    let message = refused(&child(little), &file("tests/guests/ok.wat")).await;
    assert_eq!(message, "the compiler made more than 0 MiB of machine code");
    assert_eq!(
        guest("ok").invoke(call()).await.verdict,
        Verdict::Ok(Vec::new()),
        "this process goes on"
    );
}

#[tokio::test]
async fn a_child_that_is_killed_or_cannot_start_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = file("tests/guests/ok.wat");
    for (name, script, expected) in [
        ("killed", "kill -9 $$", "the compiler was killed, by hand or because"),
        (
            "crashed",
            "echo at last >&2; kill -SEGV $$",
            "the compiler crashed with signal 11: at last",
        ),
        ("failed", "echo no such thing >&2; exit 7", "the compiler failed: no such thing"),
        ("silent", "exit 0", "the compiler wrote no machine code"),
        ("false", "echo code; exit 0", "the compiler wrote no machine code"),
    ] {
        // Written by another process: no thread of this one can hold it open for writing while it
        // is started.
        let text = format!("printf '%s\\n' '#!/bin/sh' '{script}' > {name} && chmod +x {name}");
        assert!(
            Command::new("sh")
                .args(["-c", &text])
                .current_dir(dir.path())
                .status()
                .unwrap()
                .success()
        );
        let message = refused(&compiler(dir.path().join(name), limits(), None), &file).await;
        assert!(message.starts_with(expected), "{name}: {message}");
    }
    let message = refused(&compiler(dir.path().join("nothing"), limits(), None), &file).await;
    assert!(message.starts_with("the compiler could not be started: "), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compilation_that_nobody_waits_for_any_more_ends_its_child() {
    let dir = tempfile::tempdir().unwrap();
    let (program, note) = (dir.path().join("patient"), dir.path().join("pid"));
    // Written by another process, as above.
    let script = format!("echo $$ > {0}.new && mv {0}.new {0} && exec sleep 1000", note.display());
    let text = format!("printf '%s\\n' '#!/bin/sh' '{script}' > patient && chmod +x patient");
    assert!(
        Command::new("sh").args(["-c", &text]).current_dir(dir.path()).status().unwrap().success()
    );
    let (compiler, file) = (compiler(&program, limits(), None), file("tests/guests/ok.wat"));
    let compiling =
        tokio::spawn(async move { compiler.load(&SANDBOX, file.into()).await.map(|_| ()) });
    let pid = wait_for("the child", || std::fs::read_to_string(&note).ok());
    let process = std::path::Path::new("/proc").join(pid.trim());
    assert!(process.exists());
    compiling.abort();
    assert!(compiling.await.unwrap_err().is_cancelled());
    wait_for("the child to end", || (!process.exists()).then_some(()));
}
