//! Brings a file into a form that the compiler takes: text becomes binary, and a core module that
//! names the world it was built for becomes a component.

use std::borrow::Cow;

use wasi_preview1_component_adapter_provider as adapter;
use wasmparser::{Parser, Payload};
use wit_component::ComponentEncoder;

use super::error::LoadError;
use crate::text;

/// Custom sections by which bindings generators name the world of a core module begin with this:
/// <https://github.com/bytecodealliance/wasm-tools/tree/main/crates/wit-component>.
const WORLD_SECTION: &str = "component-type";
/// Custom sections of Go's linker begin with this.
const GO_SECTION: &str = "go:";

/// A file in binary form.
#[derive(Debug)]
pub(super) enum Binary<'a> {
    /// A component.
    Component(Cow<'a, [u8]>),
    /// A core module that is run as it is.
    Module(Cow<'a, [u8]>),
}

/// Recognises a file by its first bytes, and brings it into a form that can be compiled.
pub(super) fn binary(bytes: &[u8]) -> Result<Binary<'_>, LoadError> {
    let binary = match bytes {
        [] => return Err(LoadError::Empty),
        [0x7f, b'E', b'L', b'F', ..] => return Err(LoadError::Precompiled),
        [0, b'a', b's', b'm', ..] => Cow::Borrowed(bytes),
        _ if is_text(bytes) => Cow::Owned(
            wat::parse_bytes(bytes).map_err(|error| LoadError::text(&error))?.into_owned(),
        ),
        _ => return Err(LoadError::NotWasm),
    };
    // Four bytes of magic, two of version, two of layer: https://webassembly.github.io/spec and the
    // component model's Binary.md.
    match binary.get(4..8) {
        Some([_, _, 1, 0]) => Ok(Binary::Component(binary)),
        Some([1, 0, 0, 0]) => module(binary),
        Some(_) => Err(LoadError::NotWasm),
        None => Err(LoadError::Invalid("it ends within its first eight bytes".to_owned())),
    }
}

/// Whether a file may be WebAssembly text: a parenthesis, after white space and comments.
fn is_text(bytes: &[u8]) -> bool {
    let text = bytes.trim_ascii_start();
    std::str::from_utf8(bytes).is_ok() && (text.starts_with(b"(") || text.starts_with(b";;"))
}

/// Facts from a core module's sections.
#[derive(Debug, Default)]
struct Sections {
    names_its_world: bool,
    imports_preview1: bool,
    is_go: bool,
}

fn module(binary: Cow<'_, [u8]>) -> Result<Binary<'_>, LoadError> {
    let sections =
        sections(&binary).map_err(|error| LoadError::Invalid(text::error(&error.to_string())))?;
    if !sections.names_its_world {
        return Ok(Binary::Module(binary));
    }
    // The adapter grows the guest's memory for pages of its own. Go's allocator assumes that nobody
    // else grows it, and hands those pages out: memory is corrupted, often unnoticed.
    if sections.is_go && sections.imports_preview1 {
        return Err(LoadError::GoNeedsAdapter);
    }
    let mut encoder = ComponentEncoder::default();
    let encoded = encoder
        .module(&binary)
        .and_then(|encoder| {
            let adapter = (
                adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME,
                adapter::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER,
            );
            if sections.imports_preview1 {
                encoder.adapter(adapter.0, adapter.1)
            } else {
                Ok(encoder)
            }
        })
        .and_then(|encoder| encoder.validate(true).encode());
    match encoded {
        Ok(component) => Ok(Binary::Component(Cow::Owned(component))),
        Err(error) => Err(LoadError::Wrap(text::error(&format!("{error:#}")))),
    }
}

fn sections(binary: &[u8]) -> wasmparser::Result<Sections> {
    let mut sections = Sections::default();
    for payload in Parser::new(0).parse_all(binary) {
        match payload? {
            Payload::CustomSection(section) => {
                sections.names_its_world |= section.name().starts_with(WORLD_SECTION);
                sections.is_go |= section.name().starts_with(GO_SECTION);
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    sections.imports_preview1 |=
                        import?.module == adapter::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
                }
            }
            _ => {}
        }
    }
    Ok(sections)
}
