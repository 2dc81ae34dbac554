//! One turn of an agent's model: what goes on around is told, the model is asked, its answer is recorded.

use super::{
    chat::{self, Ending, error_info},
    end::End,
    model::{ChatRequest, ToolSpec},
    perform::Agent,
    session::Refused,
    surroundings::{self, Around},
    system::{self, Surroundings},
};
use crate::tool::ToolDefinition;
use moonlog_core::{
    event::NewEvent,
    message::{Message, Part, Role},
};

impl Agent<'_> {
    /// One turn of the model.
    pub(super) async fn chat(&mut self) -> Result<Option<End>, Refused> {
        let turn = self.conversation.turns() + 1;
        let allowed = match self.allowed(turn).await? {
            Ok(allowed) => allowed,
            Err(why) => return Ok(Some(End::Interrupted(why))),
        };
        let Around { running, notices } =
            surroundings::look(self.context, &self.recorder.session, &self.conversation, self.input.names_session());
        let around =
            Surroundings { root: self.root.as_deref(), has_tools: !self.offered.is_empty(), running: &running };
        let system = system::prompt(self.input.system.as_deref(), self.turns.schema(), &around);
        // What is told now stands in the request that is made now, and in all that follow.
        let mut before: Vec<NewEvent> = notices.into_iter().map(|notice| self.say(notice)).collect();
        if system != self.told {
            let parts = vec![Part::text(system.as_str())];
            before.push(self.say(Message { id: format!("s{turn}"), role: Role::System, parts, turn }));
            self.told.clone_from(&system);
        }
        let request = ChatRequest {
            system,
            messages: self.conversation.for_request(),
            tools: self.offered.iter().map(spec).collect(),
            schema: self.turns.schema().map(|schema| schema.schema().clone()),
            turn,
            attempt: 1,
        };
        let chatted = chat::chat(&self.recorder, &self.model, request, allowed, &mut self.interrupt, before).await?;
        self.count(&chatted.usage);
        self.seen_tokens = chatted.usage.prompt_tokens + chatted.usage.completion_tokens;
        let (mut events, answer) = (vec![self.recorder.event(chatted.finished)], chatted.answer);
        let end = match chatted.ending {
            Ending::Whole => {
                let (job, ids) = (&self.context.job, &self.context.inner.call_ids);
                // An id is written down as it is, and told back: it may not be a secret's value.
                let secret = |id: &str| self.recorder.secrets.scrub(id) != id;
                let calls =
                    answer.tool_calls(turn, |id| secret(id) || self.conversation.knows_call(id) || !ids.take(job, id));
                let parts = answer.parts(&calls);
                let message = Message { id: format!("a{turn}"), role: Role::Assistant, parts, turn };
                self.turns.answered(&message, answer.finish_reason.as_deref().unwrap_or("stop"));
                events.push(self.say(message));
                None
            }
            Ending::Interrupted(why) => {
                // What was said stays said; calls that are not whole were never made.
                let parts = answer.parts(&[]);
                if !parts.is_empty() {
                    events.push(self.say(Message { id: format!("a{turn}"), role: Role::Assistant, parts, turn }));
                }
                Some(End::Interrupted(why))
            }
            Ending::Failed(error) => Some(End::Failed(error_info(&error))),
        };
        // The answer is durable before it is acted upon.
        self.recorder.append_durably(events).await?;
        Ok(end)
    }
}

fn spec(tool: &ToolDefinition) -> ToolSpec {
    ToolSpec { name: tool.name.clone(), description: tool.description.clone(), input_schema: tool.input_schema.clone() }
}
