//! Files that are hostile to whoever loads them: a child process with limits takes them on, each is
//! refused with a reason, and a good plugin is served meanwhile.

use std::sync::Arc;

use hookbox::sandbox::{ChildCompiler, CompileLimits, Compiler, Confinement};

use super::{gallery, is_served, site};

/// Limits of a file here: enough for the files to be accepted, and little enough that a bomb is
/// soon over.
fn compiler() -> Compiler {
    let confinement = Confinement { cpu_s: 1, ..CompileLimits::default().confinement };
    Compiler::Child(Arc::new(ChildCompiler {
        program: env!("CARGO_BIN_EXE_hookbox").into(),
        cache: None,
        temp_dir: std::env::temp_dir(),
        limits: CompileLimits { confinement, wall_ms: 120_000 },
    }))
}

#[test]
fn every_file_that_is_no_plugin_is_refused_with_a_reason() {
    let sandbox = gallery::sandbox();
    let (good, compiler) = (gallery::good(&sandbox), compiler());
    let mut complaints = Vec::new();
    // The first runtime of a process opens what stays open: the way by which signals come.
    drop(super::runtime());
    let before = site::Held::now();
    // Threads that read and wait end with the runtime.
    super::runtime().block_on(async {
        for guest in gallery::guests().iter().filter(|guest| guest.is_refused()) {
            match compiler.load(&sandbox, guest.file().into()).await {
                Ok((plugin, _)) => {
                    complaints.push(format!("{}: it was taken: {plugin:?}", guest.name))
                }
                Err(error) => {
                    println!("{}: {error}", guest.name);
                    complaints.extend(guest.complaint_of_refusal(&error.to_string()));
                }
            }
            is_served(&good, &guest.name).await;
        }
    });
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
    // The files themselves, of up to 64 MiB, have been here.
    before.assert_kept(96 << 10);
}
