//! Schedules: setting, showing and removing them.

use super::{
    app::App,
    body::Fields,
    jobs::part,
    problem::Problem,
    reply::{self, Response},
    request::Request,
    submit::{self, command_refused},
    text_limits::Text,
};
use moonlog_core::{
    event::{CatchUp, Overlap, ScheduleSet},
    json::Json,
};
use moonlog_runner::SetSchedule;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use warp::http::StatusCode;

/// The longest jitter: an hour.
const JITTER_MAX_MS: u64 = 3_600_000;

/// `GET /v1/schedules`
pub async fn list(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let (items, next) = part(&request, app.runner.schedules())?;
    Ok(reply::page(&items, next))
}

/// `GET /v1/schedules/{name}`
pub async fn show(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let name = request.text(0);
    match app.runner.schedule(name) {
        Some(schedule) => Ok(reply::json(StatusCode::OK, &schedule)),
        None => Err(Problem::not_found("no_such_schedule", format!("no schedule is named `{name}`"))),
    }
}

/// `PUT /v1/schedules/{name}`
pub async fn set(app: Arc<App>, mut request: Request) -> Result<Response, Problem> {
    let mut fields = request.fields(&app.options).await?;
    let set = read(&mut fields);
    fields.finish()?;
    let name = request.text(0).to_owned();
    let (schedule, is_new) = app
        .runner
        .set_schedule(SetSchedule { name: name.clone(), set })
        .await
        .map_err(|error| command_refused(error, &name))?;
    Ok(reply::json(if is_new { StatusCode::CREATED } else { StatusCode::OK }, &schedule))
}

/// `DELETE /v1/schedules/{name}`
pub async fn remove(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    let name = request.text(0);
    app.runner.remove_schedule(name).await.map_err(|error| command_refused(error, &name))?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

fn read(fields: &mut Fields) -> ScheduleSet {
    let cron = fields.text("cron");
    let cron = fields.required("cron", cron);
    let workflow = fields.limited("workflow", Text::Name);
    ScheduleSet {
        cron,
        workflow: fields.required("workflow", workflow),
        args: fields.json("args").unwrap_or_else(|| Json::from_written("{}".into())),
        time_zone: fields.text("time_zone").unwrap_or_else(|| "UTC".into()),
        overlap: one_of::<Overlap>(fields, "overlap", "`skip`, `queue` or `replace`"),
        catch_up: one_of::<CatchUp>(fields, "catch_up", "`none`, `last` or `all`"),
        jitter_ms: fields
            .whole("jitter_ms", 0..=JITTER_MAX_MS as i64)
            .and_then(|ms| u64::try_from(ms).ok())
            .unwrap_or(0),
        queue: fields.limited("queue", Text::Name),
        labels: submit::labels(fields),
        paused: fields.boolean("paused").unwrap_or(false),
    }
}

/// One of a few words.
fn one_of<T: DeserializeOwned + Default>(fields: &mut Fields, name: &str, words: &str) -> T {
    let Some(value) = fields.value(name) else { return T::default() };
    match serde_json::from_value(value.clone()) {
        Ok(word) => word,
        Err(_) => fields.wrong(name, words, &value).unwrap_or_default(),
    }
}
