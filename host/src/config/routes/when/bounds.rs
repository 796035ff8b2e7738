//! The bound of a condition's cost: what an expression may not contain, because the sender of an
//! event could then make its evaluation cost more than its size is worth.
//!
//! The evaluator has no limit of its own. A loop visits each element of the event once. As long as
//! the work on an element costs no more than its size, the whole loop costs no more than the size
//! of the event times the length of the expression. So within a loop
//!
//! - there is no other loop;
//! - `data` and `headers` are not read: a loop's own variable has the element;
//! - `in`, `==`, `!=`, `contains` and `matches` have a literal on one side;
//! - what `map` keeps is not larger than the element, or a chain of them would grow without bound.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::operators as op;
use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, LiteralValue};

use super::variables::{NAMES, WHOLE};
use super::{EXAMPLE, WhenError};
use crate::config::raw::did_you_mean;

/// The deepest nesting that is evaluated: the evaluator recurses on the stack of its caller.
pub(super) const MAX_DEPTH: usize = 64;

/// The most loops in one expression, one after the other.
pub(super) const MAX_LOOPS: usize = 8;

/// The longest text that a `map` may keep for each element, in bytes.
pub(super) const MAX_KEPT_BYTES: usize = 64;

/// Names of types, for `type(x) == string`.
const TYPES: [&str; 10] =
    ["bool", "bytes", "double", "dyn", "int", "list", "map", "null_type", "string", "uint"];

const FUNCTIONS: [&str; 13] = [
    "bool",
    "bytes",
    "contains",
    "double",
    "dyn",
    "endsWith",
    "int",
    "matches",
    "size",
    "startsWith",
    "string",
    "type",
    "uint",
];

/// Functions that look like calls and are expanded by the parser.
const MACROS: [&str; 6] = ["has", "all", "exists", "exists_one", "map", "filter"];

const OPERATORS: [&str; 18] = [
    op::CONDITIONAL,
    op::LOGICAL_AND,
    op::LOGICAL_OR,
    op::LOGICAL_NOT,
    op::SUBSTRACT,
    op::ADD,
    op::MULTIPLY,
    op::DIVIDE,
    op::MODULO,
    op::EQUALS,
    op::NOT_EQUALS,
    op::GREATER_EQUALS,
    op::LESS_EQUALS,
    op::GREATER,
    op::LESS,
    op::NEGATE,
    op::INDEX,
    op::IN,
];

/// Operations that need a literal on one side within a loop, and how they are written.
const COMPARING: [(&str, &str); 5] = [
    (op::IN, "in"),
    (op::EQUALS, "=="),
    (op::NOT_EQUALS, "!="),
    ("contains", "contains"),
    ("matches", "matches"),
];

/// Where a part of an expression stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LoopPlace {
    /// In no loop.
    Outside,
    /// In a loop's body.
    Loop,
    /// In what `map` keeps of each element.
    Kept,
}

/// The walk through an expression.
#[derive(Debug)]
struct ExpressionWalk<'e> {
    /// The variables of the loop around.
    own: Vec<&'e str>,
    place: LoopPlace,
    loops: usize,
    patterns: BTreeSet<String>,
}

/// Refuses an expression that is not bounded, or names what is not there. Returns the patterns that
/// it has for `matches`.
pub(super) fn check(expression: &IdedExpr) -> Result<BTreeSet<String>, WhenError> {
    if !may_be_true(expression) {
        return Err(WhenError::new("is neither true nor false", EXAMPLE));
    }
    let (own, patterns) = (Vec::new(), BTreeSet::new());
    let mut walk = ExpressionWalk { own, place: LoopPlace::Outside, loops: 0, patterns };
    walk.part(expression, 0)?;
    Ok(walk.patterns)
}

impl<'e> ExpressionWalk<'e> {
    fn part(&mut self, part: &'e IdedExpr, depth: usize) -> Result<(), WhenError> {
        if depth > MAX_DEPTH {
            let what = format!("is nested more than {MAX_DEPTH} levels deep");
            return Err(WhenError::new(what, "test less, or test it in the plugin"));
        }
        let deeper = depth + 1;
        match &part.expr {
            Expr::Ident(name) => self.name(name),
            Expr::Literal(literal) => self.literal(literal),
            Expr::Select(select) => self.part(&select.operand, deeper),
            Expr::Call(call) => self.call(call, deeper),
            Expr::Comprehension(inner) => self.comprehension(inner, deeper),
            Expr::List(list) => {
                self.builds()?;
                list.elements.iter().try_for_each(|element| self.part(element, deeper))
            }
            Expr::Map(map) => {
                self.builds()?;
                for entry in &map.entries {
                    if let EntryExpr::MapEntry(entry) = &entry.expr {
                        self.part(&entry.key, deeper)?;
                        self.part(&entry.value, deeper)?;
                    }
                }
                Ok(())
            }
            Expr::Struct(built) => {
                let what = format!("makes a `{}`, and there are no such types", built.type_name);
                Err(WhenError::new(what, EXAMPLE))
            }
            Expr::Unspecified => Err(WhenError::new("is empty", EXAMPLE)),
        }
    }

    fn name(&self, written: &str) -> Result<(), WhenError> {
        // A dot in front passes the variables of loops by.
        let name = written.strip_prefix('.').unwrap_or(written);
        if name == written && self.own.contains(&name) {
            return Ok(());
        }
        if !NAMES.contains(&name) && !TYPES.contains(&name) {
            let near = did_you_mean(name, NAMES.into_iter().chain(self.own.iter().copied()));
            let what = format!("names `{name}`, which is no variable");
            let all = NAMES.join(", ");
            return Err(WhenError::new(what, format!("{near}the variables are {all}")));
        }
        if self.place != LoopPlace::Outside && WHOLE.contains(&name) {
            let what = format!("reads `{name}` within a loop, once for each element");
            let help = "test it in front of the loop: \"data.kind == 'a' && data.items.exists(i, i.n > 1)\"";
            return Err(WhenError::new(what, help));
        }
        Ok(())
    }

    fn literal(&self, literal: &LiteralValue) -> Result<(), WhenError> {
        let bytes = match literal {
            LiteralValue::String(text) => text.inner().len(),
            LiteralValue::Bytes(bytes) => bytes.inner().len(),
            _ => 0,
        };
        if self.place == LoopPlace::Kept && bytes > MAX_KEPT_BYTES { Err(grows()) } else { Ok(()) }
    }

    /// A list or a map is made here.
    fn builds(&self) -> Result<(), WhenError> {
        if self.place == LoopPlace::Kept { Err(grows()) } else { Ok(()) }
    }

    fn call(&mut self, call: &'e CallExpr, depth: usize) -> Result<(), WhenError> {
        let name = call.func_name.as_str();
        if !FUNCTIONS.contains(&name) && !OPERATORS.contains(&name) {
            return Err(unknown_function(name));
        }
        let operands = || call.target.as_deref().into_iter().chain(&call.args);
        if name == "matches" {
            self.pattern(call.args.last())?;
        }
        let comparing = COMPARING.iter().find(|(known, _)| *known == name);
        if let Some((_, shown)) = comparing
            && self.place != LoopPlace::Outside
            && !operands().any(is_literal)
        {
            let what = format!("compares two values with `{shown}` within a loop");
            let help = "within a loop, one side of `in`, `==`, `!=`, `contains` and `matches` is a \
                literal: a sender could make it cost the square of an event's size";
            return Err(WhenError::new(what, help));
        }
        if name == op::ADD && self.place == LoopPlace::Kept && !operands().any(is_number) {
            return Err(grows());
        }
        operands().try_for_each(|operand| self.part(operand, depth))
    }

    /// The pattern of `matches` is compiled beforehand: a sender must not choose it.
    fn pattern(&mut self, pattern: Option<&IdedExpr>) -> Result<(), WhenError> {
        match pattern.map(|pattern| &pattern.expr) {
            Some(Expr::Literal(LiteralValue::String(pattern))) => {
                self.patterns.insert(pattern.inner().to_owned());
                Ok(())
            }
            _ => Err(WhenError::new(
                "has a pattern for `matches` that is not written out",
                "write the regular expression in quotes: subject.matches('^order-[0-9]+$')",
            )),
        }
    }

    fn comprehension(
        &mut self,
        inner: &'e ComprehensionExpr,
        depth: usize,
    ) -> Result<(), WhenError> {
        if self.place != LoopPlace::Outside {
            let help = "a sender could make it cost the square of an event's size; loops one after \
                the other are allowed: \"data.items.filter(i, i.n > 1).exists(i, i.ok)\"";
            return Err(WhenError::new("has a loop within the body of another", help));
        }
        self.loops += 1;
        if self.loops > MAX_LOOPS {
            let what = format!("has more than {MAX_LOOPS} loops");
            return Err(WhenError::new(what, "test less, or test it in the plugin"));
        }
        self.part(&inner.iter_range, depth)?;
        self.own = vec![&inner.iter_var, &inner.accu_var];
        self.place = LoopPlace::Loop;
        let body = if matches!(inner.accu_init.expr, Expr::List(_)) {
            self.collected(&inner.loop_step, depth)
        } else {
            self.part(&inner.loop_step, depth)
        };
        self.own.clear();
        self.place = LoopPlace::Outside;
        body
    }

    /// The body of `map` or `filter`, as the parser expands it: `@result + [kept]`, or
    /// `condition ? @result + [kept] : @result`.
    fn collected(&mut self, step: &'e IdedExpr, depth: usize) -> Result<(), WhenError> {
        let step = match arguments(step, op::CONDITIONAL) {
            Some([condition, step, _]) => {
                self.part(condition, depth)?;
                step
            }
            _ => step,
        };
        self.place = LoopPlace::Kept;
        match arguments(step, op::ADD) {
            Some([_, IdedExpr { expr: Expr::List(kept), .. }]) => {
                kept.elements.iter().try_for_each(|kept| self.part(kept, depth))
            }
            _ => self.part(step, depth),
        }
    }
}

/// The arguments of a call, if it calls this.
fn arguments<'e>(part: &'e IdedExpr, name: &str) -> Option<&'e [IdedExpr]> {
    match &part.expr {
        Expr::Call(call) if call.func_name == name && call.target.is_none() => Some(&call.args),
        _ => None,
    }
}

fn grows() -> WhenError {
    WhenError::new(
        "has a `map` that makes more of each element",
        format!(
            "`map` keeps a part of an element or a number: no lists, maps or texts of more than \
             {MAX_KEPT_BYTES} bytes, and no `+` but of a number"
        ),
    )
}

fn unknown_function(name: &str) -> WhenError {
    if MACROS.contains(&name) {
        let what = format!("calls `{name}` in a way that it has not");
        let help = "write has(data.a) or data.items.exists(i, i.n > 1); all, exists_one, map and \
            filter are written like exists";
        return WhenError::new(what, help);
    }
    let near = did_you_mean(name, FUNCTIONS.into_iter().chain(MACROS));
    let all = FUNCTIONS.iter().chain(&MACROS).copied().collect::<Vec<_>>().join(", ");
    WhenError::new(
        format!("calls `{name}`, which is no function"),
        format!("{near}the functions are {all}"),
    )
}

/// Whether this is written out: a literal, or a list of them.
fn is_literal(part: &IdedExpr) -> bool {
    match &part.expr {
        Expr::Literal(_) => true,
        Expr::List(list) => list.elements.iter().all(is_literal),
        _ => arguments(part, op::NEGATE).is_some_and(|args| args.iter().all(is_literal)),
    }
}

fn is_number(part: &IdedExpr) -> bool {
    match &part.expr {
        Expr::Literal(literal) => {
            matches!(
                literal,
                LiteralValue::Int(_) | LiteralValue::UInt(_) | LiteralValue::Double(_)
            )
        }
        _ => arguments(part, op::NEGATE).is_some_and(|args| args.iter().all(is_number)),
    }
}

/// Whether an expression may be true for some event.
fn may_be_true(part: &IdedExpr) -> bool {
    const NUMERIC: [&str; 6] =
        [op::SUBSTRACT, op::ADD, op::MULTIPLY, op::DIVIDE, op::MODULO, op::NEGATE];
    match &part.expr {
        Expr::Literal(literal) => matches!(literal, LiteralValue::Boolean(_)),
        Expr::List(_) | Expr::Map(_) => false,
        Expr::Call(call) => !NUMERIC.contains(&call.func_name.as_str()) && call.func_name != "size",
        _ => true,
    }
}
