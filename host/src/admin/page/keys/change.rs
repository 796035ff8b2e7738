//! Keys are set and deleted: what is there, and what will be.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::Response;

use crate::admin::by::By;
use crate::admin::kv::change::change;
use crate::admin::kv::{found_value, known};
use crate::admin::page::confirm::ConfirmPage;
use crate::admin::page::form::{FormFields, ONCE, once, see_other};
use crate::admin::page::frame::PageFrame;
use crate::admin::page::html;
use crate::admin::page::parts::difference::with_line_ends;
use crate::admin::page::parts::html::{Html, field_text, shown};
use crate::admin::page::parts::link::{Link, word};
use crate::admin::page::parts::measure::bytes;
use crate::admin::page::request::Asked;
use crate::admin::params::{Id, KeyQuery, version};
use crate::admin::problem::ProblemJson;
use crate::admin::state::Admin;
use crate::store::{KeyExpected, KvValue};

/// The most bytes of a value that the page shows in a field.
const MAX_FIELD: usize = 48 << 10;

#[derive(Template)]
#[template(path = "set.html")]
struct SetPage {
    frame: PageFrame,
    heading: String,
    action: String,
    /// The key, unless it is a new one.
    key: Option<String>,
    version: Option<String>,
    value: Html,
    back: String,
}

impl SetPage {
    /// The name of its form.
    fn once(&self) -> String {
        once()
    }
}

/// The text of a value that a field can hold.
fn editable(found: &KvValue) -> Result<&str, ProblemJson> {
    let is_odd = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    let text = std::str::from_utf8(&found.value).ok().filter(|text| !text.contains(is_odd));
    text.filter(|text| text.len() <= MAX_FIELD).ok_or_else(|| {
        ProblemJson::conflict(format!(
            "the value has {} and is no text, or a long one: `hookbox kv set` sets it from a file, \
             or with `--number`",
            bytes(found.value.len() as u64)
        ))
    })
}

/// Shows the value in a field, or empty fields for a new key.
pub(in crate::admin::page) async fn ask_set(
    State(admin): State<Arc<Admin>>,
    Id(bucket): Id<String>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let query = asked.query::<KeyQuery>()?;
    let bucket = known(&admin, &bucket).await?;
    let own = Link::to("/kv").segment(&bucket);
    let key = query.key().ok().map(str::to_owned);
    let found = match &key {
        Some(key) => Some(found_value(&admin, &bucket, key).await?),
        None => None,
    };
    let value = found.as_ref().map(editable).transpose()?.unwrap_or_default();
    let back = match &key {
        Some(key) => own.clone().segment("value").with("key", key),
        None => own.clone(),
    };
    let shown_key = key.as_deref().map_or("KEY".to_owned(), word);
    let seen = found.as_ref().map(|found| found.version.to_string());
    let condition = match &seen {
        Some(version) => format!("--if-version {version}"),
        None => "--if-absent".to_owned(),
    };
    let frame = PageFrame::of(&admin, &asked, "keys", format!("Set a key of {bucket}")).await;
    let call = Link::to("/api/v1/kv").segment(&bucket).segment("value");
    let call = call.with("key", key.as_deref().unwrap_or("KEY"));
    let call = match &seen {
        Some(version) => call.with("if_version", version),
        None => call.with("if_absent", "true"),
    };
    let page = SetPage {
        frame: frame.same_as(
            format!("hookbox kv set {} {shown_key} VALUE {condition}", word(&bucket)),
            format!("{}' -X PUT --data-binary 'VALUE", call.into_text()),
        ),
        heading: match &key {
            Some(_) => format!("Set a key of {bucket}"),
            None => format!("A new key of {bucket}"),
        },
        action: own.segment("set").into_text(),
        value: field_text(value),
        version: seen,
        key,
        back: back.into_text(),
    };
    html(StatusCode::OK, &page)
}

/// Sets it.
pub(in crate::admin::page) async fn set(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(bucket): Id<String>,
    request: Request,
) -> Result<Response, ProblemJson> {
    let mut form = FormFields::read(request, 8 * MAX_FIELD).await?;
    let by = by.once(form.take(ONCE));
    let key = form.take("key").unwrap_or_default();
    let sent = form.take("value").unwrap_or_default();
    let (value, expected) = match form.take("version") {
        Some(text) => {
            // Of a value that has changed meanwhile nothing is set.
            let found = found_value(&admin, &bucket, &key).await?;
            let old = std::str::from_utf8(&found.value).unwrap_or_default();
            (with_line_ends(old, &sent), KeyExpected::Version(version(&text)?))
        }
        None => (with_line_ends("", &sent), KeyExpected::Absent),
    };
    let value = Some(value.into_bytes());
    let Json(_) = change(&admin, &by, &bucket, key.clone(), value, expected).await?;
    let path = Link::to("/kv").segment(&bucket).segment("value").with("key", &key);
    Ok(see_other(&path.into_text()))
}

/// Asks whether a key is to be deleted.
pub(in crate::admin::page) async fn ask_delete(
    State(admin): State<Arc<Admin>>,
    Id(bucket): Id<String>,
    asked: Asked,
) -> Result<Response, ProblemJson> {
    let query = asked.query::<KeyQuery>()?;
    let key = query.key()?;
    let found = found_value(&admin, &bucket, key).await?;
    let version = found.version.to_string();
    let own = Link::to("/kv").segment(&bucket);
    let frame = PageFrame::of(&admin, &asked, "keys", format!("Delete a key of {bucket}")).await;
    let call = Link::to("/api/v1/kv").segment(&bucket).segment("value");
    let call = call.with("key", key).with("if_version", &version).into_text();
    let command = format!("hookbox kv delete {} {}", word(&bucket), word(key));
    let page = ConfirmPage {
        frame: frame
            .same_as(format!("{command} --if-version {version}"), format!("{call}' -X 'DELETE")),
        heading: format!("Delete a key of {bucket}?"),
        lines: vec![
            shown(&format!("The key {key}, with {}.", bytes(found.value.len() as u64))),
            shown("It cannot be had back. An attempt that has read it runs again."),
        ],
        action: own.clone().segment("delete").with("key", key).into_text(),
        hidden: vec![("key", key.to_owned()), ("version", version)],
        choices: Vec::new(),
        button: "Delete it".to_owned(),
        is_grave: true,
        back: own.segment("value").with("key", key).into_text(),
    };
    html(StatusCode::OK, &page)
}

/// Deletes it.
pub(in crate::admin::page) async fn delete(
    State(admin): State<Arc<Admin>>,
    by: By,
    Id(bucket): Id<String>,
    mut form: FormFields,
) -> Result<Response, ProblemJson> {
    let by = by.once(form.take(ONCE));
    let (Some(key), Some(text)) = (form.take("key"), form.take("version")) else {
        return Err(ProblemJson::bad_request("`key` or `version` is missing"));
    };
    let expected = KeyExpected::Version(version(&text)?);
    let Json(_) = change(&admin, &by, &bucket, key, None, expected).await?;
    Ok(see_other(&Link::to("/kv").segment(&bucket).into_text()))
}
