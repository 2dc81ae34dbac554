//! `moonlog signal`: sends a signal to a job.

use super::job_ref;
use crate::cli::{
    args::Signal,
    client::{Client, segment},
    failure::{Failure, Status},
    output,
};
use serde_json::{Value, json};

/// Runs the command.
pub async fn run(client: &Client, options: &Signal) -> Result<Status, Failure> {
    let id = job_ref::resolve(client, &options.job).await?;
    let mut body = json!({"payload": options.payload.as_deref().map_or(Value::Null, payload)});
    if let Some(key) = &options.idempotency_key {
        body["idempotency_key"] = json!(key);
    }
    client.post(&format!("/v1/jobs/{}/signals/{}", segment(&id), segment(&options.name)), &body).await?;
    output::text(&format!("{id} has the signal"))?;
    Ok(Status::Done)
}

/// JSON where it is JSON, else a text.
fn payload(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_is_json_or_a_text() {
        for (text, value) in
            [("7", json!(7)), ("{\"a\":[]}", json!({"a": []})), ("go on", json!("go on")), ("\"7\"", json!("7"))]
        {
            assert_eq!(payload(text), value);
        }
    }
}
