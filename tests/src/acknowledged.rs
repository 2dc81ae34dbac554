//! What a server has acknowledged until it could not write any more, and what must be left of it.

use crate::Server;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Jobs that are submitted until the server refuses them.
const JOBS_MAX: u64 = 2_000;

/// What was acknowledged: jobs with what they give, and all events that were served.
#[derive(Debug)]
pub struct Acknowledged {
    jobs: BTreeMap<String, Value>,
    events: Vec<Value>,
}

impl Acknowledged {
    /// Submits jobs that fill a disk until the server takes no more, and has said why.
    ///
    /// # Panics
    /// Where it refuses them in another way, or never.
    pub async fn fill(server: &Server) -> Self {
        Self::fill_by(server, 2_000).await
    }

    /// The same with events that carry `words` words of five letters.
    ///
    /// # Panics
    /// As [`Self::fill`].
    #[expect(clippy::print_stdout, reason = "tests say what they have seen")]
    pub async fn fill_by(server: &Server, words: usize) -> Self {
        let mut jobs = BTreeMap::new();
        for n in 0..JOBS_MAX {
            let script = "for i = 1, 20 do emit('fill', { n = args.n, i = i, text = args.text }) end return args.n";
            let body = json!({ "script": script, "args": { "n": n, "text": format!("{n:05}").repeat(words) } });
            let request =
                server.request(Method::POST, "/v1/jobs?wait=10s").json(&body).send().await.expect("an answer");
            let status = request.status();
            let kind = request.headers()["content-type"].to_str().expect("a text").to_owned();
            let answer: Value = request.json().await.expect("JSON");
            match status {
                StatusCode::OK | StatusCode::ACCEPTED => {
                    jobs.insert(answer["id"].as_str().expect("an id").to_owned(), json!(n));
                }
                _ => {
                    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "{answer}");
                    assert_eq!(kind, "application/problem+json");
                    assert_eq!(answer["code"], "log_unavailable", "{answer}");
                    assert!(answer["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{answer}");
                    let events = served(server).await;
                    println!("refused after {} jobs, {} events", jobs.len(), events.len());
                    return Self { jobs, events };
                }
            }
        }
        panic!("nothing was ever refused");
    }

    /// Whether any job was taken.
    pub fn has_jobs(&self) -> bool {
        !self.jobs.is_empty()
    }

    /// One of the jobs.
    ///
    /// # Panics
    /// Where none was acknowledged.
    pub fn job(&self) -> &str {
        self.jobs.keys().next().expect("some job was taken")
    }

    /// What holds of a server that cannot write: it says so, and it serves what it has.
    ///
    /// # Panics
    /// Where it does not.
    pub async fn check_refused(&self, server: &Server) {
        let ready = server.request(Method::GET, "/readyz").send().await.expect("an answer");
        assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE, "it is not ready");
        let live = server.request(Method::GET, "/healthz").send().await.expect("an answer");
        assert_eq!(live.status(), StatusCode::OK, "it lives");
        for (path, body) in [("/v1/jobs", json!({ "script": "return 1" })), ("/v1/queues/default/pause", json!({}))] {
            let (status, problem) = server.post(path, &body).await;
            assert_eq!((status.as_u16(), &problem["code"]), (503, &json!("log_unavailable")), "{path}: {problem}");
        }
        let events = served(server).await;
        let same = events.iter().zip(&self.events).all(|(is, was)| is == was);
        assert!(same && events.len() <= self.events.len(), "what was read is read again, and nothing else");
        if Self::is_cut(server) {
            return;
        }
        assert_eq!(events.len(), self.events.len(), "all that was read can be read again");
        let Some(job) = self.jobs.keys().next() else { return };
        // The last may have been cut off.
        if self.jobs.len() > 1 {
            let view = server.get(&format!("/v1/jobs/{job}")).await;
            if view["code"] == "disk_failed" && Self::is_cut(server) {
                return;
            }
            assert_eq!(view["state"], "completed", "{view}: {}", server.said());
            assert_eq!(server.events(job).await.last().expect("events")["type"], "job.completed");
        }
    }

    /// Whether the server has said that it could not read something back.
    pub fn is_cut(server: &Server) -> bool {
        let said = server.said();
        said.contains("a feed was cut") || said.contains("the disk failed a request error=reading")
    }

    /// What holds of a server that can write again: everything that was acknowledged is there, and goes on.
    ///
    /// # Panics
    /// Where it is not.
    pub async fn check_kept(&self, server: &Server) {
        let now = server.ndjson("/v1/events").await;
        assert!(now.len() >= self.events.len(), "{} events were served, {} are left", self.events.len(), now.len());
        for (was, is) in self.events.iter().zip(&now) {
            assert_eq!(was, is, "an event that was served has changed");
        }
        for (job, n) in &self.jobs {
            let job = server.ended(job).await;
            assert_eq!((&job["state"], &job["result"]), (&json!("completed"), n), "{job}");
        }
        assert_eq!(server.run("return 1").await["result"], 1);
    }
}

/// All events; where something cannot be read, those before it: then the feed is cut, or refused where it is among the first,
/// and the server says why.
async fn served(server: &Server) -> Vec<Value> {
    let request = server.request(Method::GET, "/v1/events").header("accept", "application/x-ndjson");
    let mut response = request.send().await.expect("an answer");
    if response.status() == StatusCode::SERVICE_UNAVAILABLE && Acknowledged::is_cut(server) {
        return Vec::new();
    }
    assert_eq!(response.status(), StatusCode::OK, "{}", server.said());
    let mut text = Vec::new();
    let whole = loop {
        match response.chunk().await {
            Ok(Some(piece)) => text.extend_from_slice(&piece),
            Ok(None) => break true,
            Err(_) => break false,
        }
    };
    assert!(whole || Acknowledged::is_cut(server), "{}", server.said());
    let lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| line.ends_with(b"\n"));
    lines.map(|line| serde_json::from_slice(line).expect("a line of JSON")).collect()
}
