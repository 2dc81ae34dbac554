//! The gate before a request to a model: it opens when the model's rate allows another one. Who waits there says so, and
//! its job gives its place back.

use super::{
    compact,
    interrupt::{Interrupt, Why},
    model::Model,
    perform::Agent,
    recorder::{Halt, Recorder},
};
use crate::{
    job::{Hold, Turnstile},
    rate::{Admitted, Held, ModelRates},
};
use moonlog_core::event::{ChatUsage, ChatWaiting, EventBody};
use std::sync::Arc;

/// What stands before the requests of one agent.
#[derive(Clone)]
pub(super) struct Gate {
    pub(super) rates: Arc<ModelRates>,
    pub(super) turnstile: Turnstile,
    /// What a request is taken to need, in tokens.
    pub(super) estimate: u64,
}

/// A request that the gate let through.
pub(super) struct Allowed {
    pub(super) gate: Gate,
    admitted: Option<Admitted>,
}

impl Allowed {
    /// What the request has used.
    pub(super) fn used(&self, model: &str, usage: &ChatUsage) {
        if let Some(admitted) = self.admitted {
            self.gate.rates.used(model, admitted, usage.prompt_tokens + usage.completion_tokens);
        }
    }
}

impl Gate {
    /// Comes when a request may be made, or when the agent is to stop. A wait is recorded before it begins.
    pub(super) async fn pass(
        self,
        recorder: &Recorder,
        model: &Model,
        turn: u32,
        interrupt: &mut Interrupt,
    ) -> Result<Result<Allowed, Why>, Halt> {
        let held = self.rates.held(&model.name, self.estimate);
        if let Some(held) = held {
            recorder.append(vec![waiting(model, turn, held)]).await?;
            let title = format!("model `{}` has reached its {}", model.name, held.limit);
            self.turnstile.hold(Hold { name: model.name.clone(), title });
        }
        let passed = async {
            let turn = self.rates.turn(&model.name, self.estimate).await;
            if held.is_some() {
                // A place first: what is counted from now on is a request that is made now.
                self.turnstile.go_on().await;
            }
            turn.map(|turn| turn.take())
        };
        let admitted = tokio::select! {
            biased;
            why = interrupt.wait() => return Ok(Err(why)),
            admitted = passed => admitted,
        };
        Ok(Ok(Allowed { gate: self, admitted }))
    }
}

impl Agent<'_> {
    /// Comes when the model's rate allows the next request.
    pub(super) async fn allowed(&mut self, turn: u32) -> Result<Result<Allowed, Why>, Halt> {
        let estimate = compact::tokens_of(self.conversation.messages()).max(self.seen_tokens);
        let rates = self.context.inner.model_rates.clone();
        let gate = Gate { rates, turnstile: self.context.turnstile.clone(), estimate };
        gate.pass(&self.recorder, &self.model, turn, &mut self.interrupt).await
    }
}

fn waiting(model: &Model, turn: u32, held: Held) -> EventBody {
    let (model, limit, until) = (model.name.clone(), held.limit.to_owned(), held.until);
    EventBody::ChatWaiting(ChatWaiting { turn, model, limit, until })
}
