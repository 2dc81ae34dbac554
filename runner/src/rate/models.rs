//! How often each model is asked, and for how many tokens. Whoever has to wait waits in the order of asking, one of them
//! by the clock and the others behind that one.

use crate::{agent::model::ModelsOptions, clock::Clock};
use moonlog_core::{rate::RateWindow, time::Timestamp};
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// The models that are asked at a rate.
pub(crate) struct ModelRates {
    clock: Clock,
    models: HashMap<String, Model>,
}

struct Model {
    windows: Mutex<Windows>,
    turn: tokio::sync::Mutex<()>,
}

struct Windows {
    requests: Option<RateWindow>,
    tokens: Option<RateWindow>,
}

/// A request that may be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Admitted {
    at: Timestamp,
    /// What it is taken to need, until its usage is known.
    estimate: u64,
}

/// The next request to a model may be made by whoever has this.
pub(crate) struct Turn<'a> {
    rates: &'a ModelRates,
    model: &'a Model,
    estimate: u64,
    _turn: tokio::sync::MutexGuard<'a, ()>,
}

impl Turn<'_> {
    /// The request is made now, and counts.
    pub(crate) fn take(self) -> Admitted {
        let at = (self.rates.clock)();
        self.model.windows.lock().unwrap_or_else(PoisonError::into_inner).take(at, self.estimate);
        Admitted { at, estimate: self.estimate }
    }
}

/// Why a request has to wait, and until when at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) limit: &'static str,
    pub(crate) until: Timestamp,
}

impl Windows {
    fn held(&mut self, now: Timestamp, estimate: u64) -> Option<Held> {
        let held = |limit, window: &mut Option<RateWindow>, amount| {
            window.as_mut().and_then(|window| window.free_at(now, amount)).map(|until| Held { limit, until })
        };
        let requests = held("requests_per_minute", &mut self.requests, 1);
        let tokens = held("tokens_per_minute", &mut self.tokens, estimate);
        [requests, tokens].into_iter().flatten().max_by_key(|held| held.until)
    }

    fn take(&mut self, at: Timestamp, estimate: u64) {
        for (window, amount) in [(&mut self.requests, 1), (&mut self.tokens, estimate)] {
            if let Some(window) = window {
                window.add(at, amount);
            }
        }
    }
}

impl ModelRates {
    pub(crate) fn new(options: &ModelsOptions, clock: Clock) -> Self {
        let limited = options.models.iter().filter_map(|(name, model)| {
            let window = |limit: u64| (limit > 0).then(|| RateWindow::new(limit, model.rate_span_ms));
            let windows =
                Windows { requests: window(model.requests_per_minute), tokens: window(model.tokens_per_minute) };
            let is_limited = windows.requests.is_some() || windows.tokens.is_some();
            let model = || Model { windows: Mutex::new(windows), turn: tokio::sync::Mutex::new(()) };
            is_limited.then(|| (name.clone(), model()))
        });
        Self { models: limited.collect(), clock }
    }

    /// Whether anything is limited.
    pub(crate) fn is_any(&self) -> bool {
        !self.models.is_empty()
    }

    /// Why a request would have to wait now.
    pub(crate) fn held(&self, model: &str, estimate: u64) -> Option<Held> {
        let known = self.models.get(model)?;
        let now = (self.clock)();
        let held = known.windows.lock().unwrap_or_else(PoisonError::into_inner).held(now, estimate);
        // Others wait already.
        held.or_else(|| known.turn.try_lock().is_err().then_some(Held { limit: "requests_per_minute", until: now }))
    }

    /// Comes when a request may be made that needs about `estimate` tokens. Others wait until the turn is taken or dropped.
    pub(crate) async fn turn(&self, model: &str, estimate: u64) -> Option<Turn<'_>> {
        let known = self.models.get(model)?;
        let turn = known.turn.lock().await;
        loop {
            let now = (self.clock)();
            let held = known.windows.lock().unwrap_or_else(PoisonError::into_inner).held(now, estimate);
            let Some(held) = held else { return Some(Turn { rates: self, model: known, estimate, _turn: turn }) };
            let micros = held.until.as_micros().saturating_sub(now.as_micros());
            tokio::time::sleep(Duration::from_micros(u64::try_from(micros).unwrap_or(0))).await;
        }
    }

    /// The answer is there: what it used counts in the place of what it was taken to need.
    pub(crate) fn used(&self, model: &str, admitted: Admitted, tokens: u64) {
        let Some(known) = self.models.get(model) else { return };
        let mut windows = known.windows.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(window) = windows.tokens.as_mut().filter(|_| tokens > 0) {
            window.take_back(admitted.at, admitted.estimate);
            window.add((self.clock)(), tokens);
        }
    }

    /// A request that was made before a restart.
    pub(crate) fn recover_request(&self, model: &str, at: Timestamp) {
        if let Some(known) = self.models.get(model)
            && let Some(window) = &mut known.windows.lock().unwrap_or_else(PoisonError::into_inner).requests
        {
            window.add(at, 1);
        }
    }

    /// What was used before a restart.
    pub(crate) fn recover_tokens(&self, model: &str, at: Timestamp, tokens: u64) {
        if let Some(known) = self.models.get(model)
            && let Some(window) = &mut known.windows.lock().unwrap_or_else(PoisonError::into_inner).tokens
        {
            window.add(at, tokens);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::model::{ModelOptions, Provider};
    use std::sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    };

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_micros(1_760_000_000_000_000).plus_ms(ms)
    }

    /// Rates with a clock that stands where it is set.
    fn rates(requests: u64, tokens: u64) -> (ModelRates, Arc<AtomicU64>) {
        let model = ModelOptions {
            requests_per_minute: requests,
            tokens_per_minute: tokens,
            ..ModelOptions::new(Provider::Scripted, "m")
        };
        let options = ModelsOptions { models: [("m".to_owned(), model)].into(), ..ModelsOptions::default() };
        let now = Arc::new(AtomicU64::new(0));
        let clock = now.clone();
        (ModelRates::new(&options, Arc::new(move || at(clock.load(Ordering::Relaxed)))), now)
    }

    #[tokio::test]
    async fn requests_and_tokens_are_held_apart() {
        let (rates, now) = rates(2, 100);
        let first = rates.turn("m", 40).await.unwrap().take();
        assert_eq!(rates.held("m", 61), Some(Held { limit: "tokens_per_minute", until: at(60_000) }));
        assert_eq!(rates.held("m", 60), None);
        now.store(10, Ordering::Relaxed);
        rates.used("m", first, 10);
        assert_eq!(rates.held("m", 90), None, "it needed less than it was taken to");
        rates.turn("m", 1).await.unwrap().take();
        assert_eq!(rates.held("m", 1), Some(Held { limit: "requests_per_minute", until: at(60_000) }));
        now.store(60_000, Ordering::Relaxed);
        assert_eq!(rates.held("m", 1), None);
        assert!(rates.turn("other", 1).await.is_none(), "a model without a rate");
    }

    #[tokio::test]
    async fn what_was_asked_before_a_restart_counts() {
        let (rates, _) = rates(1, 100);
        rates.recover_tokens("m", at(0), 100);
        assert_eq!(rates.held("m", 1).map(|held| held.limit), Some("tokens_per_minute"));
        rates.recover_request("m", at(0));
        rates.recover_request("other", at(0));
        assert!(rates.is_any());
    }

    #[tokio::test]
    async fn who_waits_is_let_go_in_turn() {
        let (rates, now) = rates(1, 0);
        rates.turn("m", 1).await.unwrap().take();
        now.store(59_990, Ordering::Relaxed);
        let admit = async { rates.turn("m", 1).await.map(Turn::take) };
        let advance = async {
            tokio::task::yield_now().await;
            assert!(rates.held("m", 1).is_some());
            now.store(60_000, Ordering::Relaxed);
        };
        let (admitted, ()) = tokio::join!(admit, advance);
        assert!(admitted.is_some());
    }
}
