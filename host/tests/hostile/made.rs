//! Files of the gallery that nobody could read, because they are too long or are no text.

use std::fmt::Write as _;

/// The file of this name.
pub(super) fn file(name: &str) -> Vec<u8> {
    match name {
        "empty" => Vec::new(),
        // As it looks while it is being copied.
        "half" => {
            let whole = command("(memory 1)", "(drop (i32.const 1))");
            whole[..whole.len() - 5].to_vec()
        }
        "precompiled" => b"\x7fELF\x02\x01\x01".to_vec(),
        "garbage" => {
            (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect()
        }
        "module-bare" => binary("(module (func (export \"run\")))"),
        "oversize" => oversize(),
        "data-large" => data_large(),
        "custom-large" => custom_large(),
        "instances-many" => parts("(core module $m)", "(core instance (instantiate $m))", 1_000),
        "memories-many" => {
            parts("(core module $m (memory 1))", "(core instance (instantiate $m))", 9)
        }
        "components-many" => parts(
            "(component $c (core module $m) (core instance (instantiate $m)))",
            "(instance (instantiate $c))",
            1_000,
        ),
        "components-deep" => components_deep(),
        "text-deep" => {
            format!("{}{}", "(component ".repeat(100_000), ")".repeat(100_000)).into_bytes()
        }
        "modules-many" => parts("", "(core module)", 1_001),
        "types-many" => parts("", "(type (list u8))", 1_000_001),
        "types-deep" => types_deep(),
        "types-wide" => types_wide(),
        "locals-many" => {
            command("", &format!("(local {}) (drop (local.get 0))", "i64 ".repeat(50_001)))
        }
        "locals-most" => command(
            "",
            &format!(
                "(local {}) {}",
                "i64 ".repeat(49_999),
                "(local.set 7 (local.get 9))".repeat(9_999)
            ),
        ),
        "body-giant" => command("", &"(drop (i32.const 1))".repeat(2_600_000)),
        "values-many" => values_many(),
        "branches-many" => {
            command("", &format!("block (br_table {} (i32.const 1)) end", "0 ".repeat(60_000)))
        }
        "blocks-deep" => {
            command("", &format!("{} {}", "block ".repeat(100_000), "end ".repeat(100_000)))
        }
        _ => panic!("nobody makes {name}"),
    }
}

fn binary(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

/// A command with these fields, which does this.
fn command(fields: &str, body: &str) -> Vec<u8> {
    binary(&format!("(module {fields} (func (export \"_start\") {body}))"))
}

/// A component of so many parts of one kind. It exports nothing, but that is looked at last.
fn parts(first: &str, part: &str, count: usize) -> Vec<u8> {
    binary(&format!("(component {first} {})", part.repeat(count)))
}

/// A command and a section that nobody reads, of `bytes`.
fn with_section(bytes: usize) -> Vec<u8> {
    let mut file = command("(memory (export \"memory\") 1)", "(unreachable)");
    let name = b"note";
    file.push(0);
    file.extend(leb128(1 + name.len() + bytes));
    file.push(name.len() as u8);
    file.extend(name);
    file.resize(file.len() + bytes, 0);
    file
}

/// A component in a component in a component, which text cannot say.
fn components_deep() -> Vec<u8> {
    (0..10_000).fold(binary("(component)"), |inner, _| component(4, &inner, 1))
}

/// A component with so many sections that hold the same: 1 is a module, 4 a component. See the
/// component model's Binary.md.
fn component(section: u8, content: &[u8], count: usize) -> Vec<u8> {
    let mut file = binary("(component)");
    for _ in 0..count {
        file.push(section);
        file.extend(leb128(content.len()));
        file.extend(content);
    }
    file
}

/// An unsigned number as the format has it:
/// <https://webassembly.github.io/spec/core/binary/values.html>.
fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

fn custom_large() -> Vec<u8> {
    with_section(30 << 20)
}

fn oversize() -> Vec<u8> {
    with_section(64 << 20)
}

/// Comes with 60 MiB of data for a memory that it may not have.
fn data_large() -> Vec<u8> {
    let data = "x".repeat(60 << 20);
    command(&format!("(memory 1024) (data (i32.const 0) \"{data}\")"), "")
}

/// A type around a type around a type.
fn types_deep() -> Vec<u8> {
    let mut text = "(component (type $t0 (list u8))".to_owned();
    for depth in 1..10_000 {
        let _ = write!(text, "(type $t{depth} (list $t{}))", depth - 1);
    }
    text.push_str("(import \"hookbox:plugin/log@0.1.0\" (instance (export \"log\" (func (param \"x\" $t9999))))))");
    binary(&text)
}

/// Each type has the one before it twice, so that the last one holds more than there are atoms.
fn types_wide() -> Vec<u8> {
    let mut text = "(component (type $t0 (tuple u8 u8))".to_owned();
    for depth in 1..200 {
        let _ = write!(text, "(type $t{depth} (tuple $t{0} $t{0}))", depth - 1);
    }
    text.push(')');
    binary(&text)
}

/// Functions of a million values each: seconds of work, and hundreds of MiB.
fn values_many() -> Vec<u8> {
    let mut body = String::new();
    for i in 0..1_000_000 {
        let (to, a, b) = (i % 50, (i * 7) % 50, (i * 3) % 50);
        let _ = write!(body, "(local.set {to} (i64.mul (local.get {a}) (local.get {b})))");
    }
    let locals = "i64 ".repeat(49);
    let function = format!("(func (param i64) (result i64) (local {locals}) {body} (local.get 3))");
    component(1, &binary(&format!("(module {function})")), 6)
}
