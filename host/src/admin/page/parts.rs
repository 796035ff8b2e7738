//! Parts of pages: pure functions from values to HTML that is escaped already.

pub(super) mod chart;
pub(super) mod difference;
pub(super) mod graph;
pub(super) mod html;
pub(super) mod json;
pub(super) mod link;
pub(super) mod measure;
pub(super) mod payload;
pub(super) mod spark;
pub(super) mod state;
mod stretches;
pub(super) mod waterfall;
pub(super) mod when;
