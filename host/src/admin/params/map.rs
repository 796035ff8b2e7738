//! Parameters of the map.

use serde::Deserialize;
use utoipa::IntoParams;

use crate::admin::problem::ProblemJson;
use crate::series::PairWindow;

/// Parameters of `GET /api/v1/map`.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::admin) struct MapQuery {
    /// `1h` or `24h`; `1h` if absent.
    #[param(example = "24h")]
    window: Option<String>,
    /// Only what is at most two steps from this node.
    #[param(example = "plugin:audit")]
    pub(in crate::admin) focus: Option<String>,
}

impl MapQuery {
    /// The window, with its name.
    pub(in crate::admin) fn window(&self) -> Result<(&'static str, PairWindow), ProblemJson> {
        match self.window.as_deref() {
            None | Some("1h") => Ok(("1h", PairWindow::Hour)),
            Some("24h") => Ok(("24h", PairWindow::Day)),
            Some(wanted) => {
                let wanted: String = wanted.chars().take(80).collect();
                let detail = format!("`window`: `{wanted}` is none of `1h` and `24h`");
                Err(ProblemJson::bad_request(detail))
            }
        }
    }
}
