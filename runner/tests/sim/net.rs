//! The network of a simulation: hosts that answer late, otherwise than well, or not at all, as the seed says.

use crate::world::{Act, World};
use futures_util::future::{BoxFuture, FutureExt};
use moonlog_core::{error_info::ErrorInfo, log::Log};
use moonlog_runner::{
    http::{HostedAnswer, HostedRequest, HttpHost},
    webhook::WebhookOptions,
};
use reqwest::{StatusCode, Url, header::LOCATION};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

/// Where events are posted to.
const HOOK: &str = "hook.test";
/// Where a host sends those who ask elsewhere.
const ELSEWHERE: &str = "http://host.test/elsewhere";

pub struct Net {
    pub world: Arc<World>,
    pub log: Arc<OnceLock<Log>>,
}

/// The webhook that is told of ends.
pub fn webhook() -> WebhookOptions {
    let url = Url::parse(&format!("http://{HOOK}/")).unwrap();
    WebhookOptions {
        timeout_ms: 200,
        max_attempts: 4,
        backoff_ms: 5,
        backoff_max_ms: 20,
        concurrency: 2,
        window: 3,
        ..WebhookOptions::new(url)
    }
}

impl HttpHost for Net {
    fn answer(&self, request: HostedRequest) -> BoxFuture<'static, Result<HostedAnswer, ErrorInfo>> {
        let is_hook = request.url.host_str() == Some(HOOK);
        let header = |name: &str| request.headers.get(name).and_then(|value| value.to_str().ok()).map(String::from);
        if !is_hook && request.url.as_str() != ELSEWHERE {
            let key = header("idempotency-key").unwrap_or_default();
            let head = self.log.get().map_or(0, Log::head);
            self.world.memory().acts.push(Act { key, head });
        }
        let (takes_ms, status, is_lost) = {
            let mut chance = self.world.chance();
            let takes_ms = if chance.one_in(10) { 100_000 } else { chance.below(20) };
            let status = match chance.below(8) {
                0 => StatusCode::INTERNAL_SERVER_ERROR,
                1 => StatusCode::TOO_MANY_REQUESTS,
                2 if !is_hook => StatusCode::FOUND,
                3 => StatusCode::NOT_FOUND,
                _ => StatusCode::OK,
            };
            (takes_ms, status, chance.one_in(8))
        };
        let (world, id) = (self.world.clone(), header("webhook-id").filter(|_| is_hook));
        async move {
            tokio::time::sleep(Duration::from_millis(takes_ms)).await;
            if is_lost {
                return Err(ErrorInfo::new("connect_failed", "nobody is there").retryable());
            }
            if let Some(id) = id.filter(|_| status.is_success()) {
                world.memory().posted.insert(id);
            }
            let mut answer = HostedAnswer { status, body: b"an answer".to_vec(), ..HostedAnswer::default() };
            if status == StatusCode::FOUND {
                answer.headers.insert(LOCATION, ELSEWHERE.parse().unwrap());
            }
            Ok(answer)
        }
        .boxed()
    }
}
