//! The measured work as a workflow of DBOS: `peer-dbos ADDRESS` takes `POST /work`, runs the workflow and answers with its
//! result. The database is the one that `DBOS_DATABASE_URL` names.

use axum::{Json, Router, extract::State, http::StatusCode, routing::post};
use dbos::{Config, DBOS, WorkflowRef};
use serde::{Deserialize, Serialize};
use std::error::Error;

/// As many as load connections at a time, so that jobs wait for the disk and not for one another.
const CONNECTIONS: u32 = 64;

#[derive(Serialize, Deserialize)]
struct Work {
    /// How many steps, one after the other.
    n: u64,
    /// What each step asks for; none for a step that only gives a number.
    url: Option<String>,
}

type Workflow = WorkflowRef<Work, u64>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let address = std::env::args().nth(1).ok_or("usage: peer-dbos ADDRESS")?;
    let config = Config {
        app_version: Some(env!("CARGO_PKG_VERSION").into()),
        max_connections: CONNECTIONS,
        ..Config::from_env("moonlog-peers")
    };
    let dbos = DBOS::new(config);
    let client = reqwest::Client::new();
    let workflow: Workflow = dbos.register_workflow("work", move |work: Work| work_of(work, client.clone()))?;
    dbos.launch().await?;
    let app = Router::new().route("/work", post(submit)).with_state(workflow);
    Ok(axum::serve(tokio::net::TcpListener::bind(address).await?, app).await?)
}

async fn work_of(work: Work, client: reqwest::Client) -> dbos::Result<u64> {
    for i in 0..work.n {
        match &work.url {
            None => {
                dbos::step("s", || async move { dbos::Result::Ok(i) }).await?;
            }
            Some(url) => {
                dbos::step("s", || get(&client, url)).await?;
            }
        }
    }
    Ok(work.n)
}

async fn get(client: &reqwest::Client, url: &str) -> dbos::Result<String> {
    let text = async { client.get(url).send().await?.text().await };
    text.await.map_err(|error| dbos::Error::Config(error.to_string()))
}

async fn submit(State(workflow): State<Workflow>, Json(work): Json<Work>) -> Result<Json<u64>, (StatusCode, String)> {
    let result = workflow.run(work).await;
    result.map(Json).map_err(|error| (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}
