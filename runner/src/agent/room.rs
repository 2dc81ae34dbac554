//! Making room in a model's context: what was said before gives way to a summary.

use super::{
    chat::{self, Ending},
    compact,
    model::{ChatRequest, Provider},
    perform::Agent,
    recorder::Halt,
};
use moonlog_core::{
    event::{ChatCompacted, EventBody},
    message::{Message, Part, Role},
    projection::Conversation,
};

impl Agent<'_> {
    /// Puts a summary in the place of what was said before, where the model's context gets full.
    pub(super) async fn make_room(&mut self) -> Result<(), Halt> {
        let (context, percent) = (self.model.options.context_tokens, self.context.inner.options.agents.compact_percent);
        let before = compact::tokens_of(self.conversation.messages()).max(self.seen_tokens);
        if context == 0 || percent == 0 || before < context * percent / 100 {
            return Ok(());
        }
        let head = self.conversation.head();
        let Some(range) = compact::plan(self.conversation.messages(), head, context) else { return Ok(()) };
        let summary = match self.summary(range.end).await {
            Some(summary) => summary,
            None => compact::digest(&self.conversation.messages()[range.clone()]),
        };
        let (turn, count) = (self.conversation.turns() + 1, range.len() as u64);
        self.conversation.compact(count, &summary, turn);
        self.seen_tokens = 0;
        let compacted = ChatCompacted {
            turn,
            summary,
            messages_before: count,
            tokens_before: before,
            tokens_after: compact::tokens_of(self.conversation.messages()),
        };
        self.recorder.append(vec![EventBody::ChatCompacted(compacted)]).await.map(|_| ())
    }

    /// The model's own summary of its first `end` messages; a model that reads its turns from a file has none.
    async fn summary(&mut self, end: usize) -> Option<String> {
        if self.model.options.provider == Provider::Scripted {
            return None;
        }
        let mut told = Conversation::default();
        for message in &self.conversation.messages()[..end] {
            told.push(Message::clone(message));
        }
        let mut messages = told.for_request();
        let (role, parts) = (Role::User, vec![Part::text(compact::INSTRUCTIONS)]);
        messages.push(Message { id: String::new(), role, parts, turn: 0 });
        let request = ChatRequest {
            system: self.told.clone(),
            messages,
            tools: Vec::new(),
            schema: None,
            turn: self.conversation.turns() + 1,
            attempt: 1,
        };
        let chatted = chat::chat(&self.recorder, &self.model, request, &mut self.interrupt, Vec::new()).await.ok()?;
        self.count(&chatted.usage);
        self.recorder.append_events(vec![self.recorder.event(chatted.finished)]).await.ok()?;
        let text = chatted.answer.text.trim();
        (chatted.ending == Ending::Whole && !text.is_empty()).then(|| text.to_owned())
    }
}
