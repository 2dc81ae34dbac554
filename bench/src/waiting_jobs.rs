//! Jobs that wait for a signal, many of them.

use crate::{Outcome, load::Connection};
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

/// Submits so many, and returns when all of them wait.
pub async fn submit(address: SocketAddr, jobs: usize, patience: Duration) -> Outcome {
    let body: Arc<[u8]> = json!({ "script": "return wait_for('go')" }).to_string().into_bytes().into();
    let left = Arc::new(AtomicUsize::new(jobs));
    let tasks: Vec<_> = (0..64)
        .map(|_| {
            let (body, left) = (body.clone(), left.clone());
            tokio::spawn(async move {
                let mut connection = Connection::open(address).await?;
                while left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok() {
                    connection.post("/v1/jobs", &body, &[201]).await?;
                }
                Outcome::Ok(())
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    at_rest(address, patience).await
}

/// Returns when no job is queued or runs; fails when that takes longer than `patience`.
pub async fn at_rest(address: SocketAddr, patience: Duration) -> Outcome {
    let mut connection = Connection::open(address).await?;
    let begun = Instant::now();
    loop {
        let queues = connection.get("/v1/queues").await?;
        let busy = |queue: &Value| queue["depth"] != 0 || queue["running"] != 0;
        if !queues["items"].as_array().ok_or("no queues")?.iter().any(busy) {
            return Ok(());
        }
        if begun.elapsed() > patience {
            return Err(format!("jobs do not come to rest: {queues}").into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
