//! Where reading writes down what it finds.

use std::cell::RefCell;
use std::ops::Range;

use crate::config::inputs::Input;
use crate::config::problems::Problem;
use crate::config::warnings::Warning;

/// The problems, warnings and files that reading a configuration has found.
#[derive(Debug, Default)]
pub(in crate::config) struct Sink {
    problems: RefCell<Vec<Problem>>,
    masked: RefCell<Vec<Range<usize>>>,
    warnings: RefCell<Vec<Warning>>,
    inputs: RefCell<Vec<Input>>,
}

impl Sink {
    /// Adds a problem.
    pub(in crate::config) fn problem(
        &self,
        span: Option<Range<usize>>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) {
        self.problems.borrow_mut().push(Problem::new(span, message.into(), help.into()));
    }

    /// Adds what is no problem.
    pub(in crate::config) fn warn(&self, warning: Warning) {
        self.warnings.borrow_mut().push(warning);
    }

    /// Notes another file that was read.
    pub(in crate::config) fn input(&self, input: Input) {
        self.inputs.borrow_mut().push(input);
    }

    /// Hands over all warnings.
    pub(in crate::config) fn take_warnings(&self) -> Vec<Warning> {
        self.warnings.take()
    }

    /// Hands over the files that were read.
    pub(in crate::config) fn take_inputs(&self) -> Vec<Input> {
        self.inputs.take()
    }

    /// Keeps a part of the file from being shown: it holds a secret.
    pub(in crate::config) fn mask(&self, span: Range<usize>) {
        self.masked.borrow_mut().push(span);
    }

    pub(in crate::config) fn is_empty(&self) -> bool {
        self.problems.borrow().is_empty()
    }

    /// The problems and the spans to be masked.
    pub(in crate::config) fn into_parts(self) -> (Vec<Problem>, Vec<Range<usize>>) {
        (self.problems.into_inner(), self.masked.into_inner())
    }
}
