//! `moonlog ps`: lists processes, those that run first.

use super::jobs::text;
use crate::cli::{
    args::Ps,
    client::Client,
    duration,
    failure::{Failure, Status},
    output,
    table::Table,
};
use moonlog_core::time::Timestamp;
use serde_json::Value;

/// Runs the command.
pub async fn run(client: &Client, options: &Ps) -> Result<Status, Failure> {
    let value = |option: &Option<String>| option.clone().unwrap_or_default();
    let (session, job) = (value(&options.session), value(&options.job));
    let list = client.get_with("/v1/processes", &[("session", &session), ("job", &job)]).await?;
    if options.format.json {
        output::json(&list)?;
        return Ok(Status::Done);
    }
    let processes: Vec<&Value> = list["processes"].as_array().into_iter().flatten().collect();
    if processes.is_empty() {
        output::note("no processes");
        return Ok(Status::Done);
    }
    let now = duration::now();
    let mut table = Table::new(&["ID", "STATE", ">PID", ">TIME", "STARTED", "COMMAND"]);
    for process in processes {
        let started = time(&process["started_at_unix"]).unwrap_or(now);
        let ended = time(&process["exited_at_unix"]);
        table.row([
            text(&process["id"]),
            state(process),
            text(&process["pid"]),
            duration::between(started, ended.unwrap_or(now)),
            duration::ago(&started.to_string(), now),
            command_line(process),
        ]);
    }
    output::table(&table)?;
    Ok(Status::Done)
}

/// `running`, or how it ended.
pub fn state(process: &Value) -> String {
    match (&process["exit_code"], &process["signal"], &process["outcome"]) {
        _ if process["running"] == true => "running".into(),
        (Value::Number(code), ..) => format!("exit {code}"),
        (_, Value::String(signal), outcome) if outcome == "timed_out" => format!("timed out, {signal}"),
        (_, Value::String(signal), _) => signal.clone(),
        (.., outcome) => text(outcome),
    }
}

fn command_line(process: &Value) -> String {
    let args = process["args"].as_array().into_iter().flatten().map(text);
    std::iter::once(text(&process["command"])).chain(args).collect::<Vec<_>>().join(" ")
}

fn time(seconds: &Value) -> Option<Timestamp> {
    Some(Timestamp::from_micros(seconds.as_i64()?.checked_mul(1_000_000)?))
}
