//! Reads server-sent events (<https://html.spec.whatwg.org/multipage/server-sent-events.html>) out of the pieces in
//! which they arrive.

/// One dispatched event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Its type; `message` where none was given.
    pub event: String,
    /// Its data.
    pub data: String,
}

/// The state between two pieces.
#[derive(Debug, Default)]
pub struct Parser {
    line: Vec<u8>,
    after_carriage_return: bool,
    begun: bool,
    event: String,
    data: String,
    has_data: bool,
    next_id: Option<String>,
    last_id: Option<String>,
}

impl Parser {
    /// The id of the last event whose end was seen, with or without data: where to go on.
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// Takes the next piece and gives the events that it completed.
    pub fn feed(&mut self, piece: &[u8]) -> Vec<Message> {
        let mut messages = Vec::new();
        for &byte in piece {
            let skip = std::mem::replace(&mut self.after_carriage_return, byte == b'\r') && byte == b'\n';
            match byte {
                _ if skip => {}
                b'\r' | b'\n' => {
                    let line = std::mem::take(&mut self.line);
                    messages.extend(self.end_line(&line));
                }
                _ => self.line.push(byte),
            }
        }
        messages
    }

    fn end_line(&mut self, line: &[u8]) -> Option<Message> {
        let text = String::from_utf8_lossy(line);
        let text = if self.begun { &*text } else { text.strip_prefix('\u{feff}').unwrap_or(&text) };
        self.begun = true;
        if text.is_empty() {
            return self.dispatch();
        }
        let (field, value) = text.split_once(':').unwrap_or((text, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.event),
            "data" => {
                if self.has_data {
                    self.data.push('\n');
                }
                self.data.push_str(value);
                self.has_data = true;
            }
            "id" if !value.contains('\0') => self.next_id = Some(value.to_owned()),
            _ => {}
        }
        None
    }

    fn dispatch(&mut self) -> Option<Message> {
        if self.next_id.is_some() {
            self.last_id.clone_from(&self.next_id);
        }
        let event = std::mem::take(&mut self.event);
        let data = std::mem::take(&mut self.data);
        std::mem::take(&mut self.has_data)
            .then(|| Message { event: if event.is_empty() { "message".to_owned() } else { event }, data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: &str = "\u{feff}retry: 1000\n\n: comment\nid: 4\nevent: job.started\ndata: {\"a\":1}\n\nid: 9\n\ndata: x\r\ndata:y\r\n\r\nid: 12\rdata: é\r\revent: z\n\nid: 99\ndata: never ended";

    fn message(event: &str, data: &str) -> Message {
        Message { event: event.into(), data: data.into() }
    }

    #[test]
    fn events_come_out_however_the_bytes_are_cut() {
        for size in 1..STREAM.len() {
            let mut parser = Parser::default();
            let found: Vec<_> = STREAM.as_bytes().chunks(size).flat_map(|piece| parser.feed(piece)).collect();
            let expected = [message("job.started", "{\"a\":1}"), message("message", "x\ny"), message("message", "é")];
            assert_eq!(found, expected, "pieces of {size}");
            assert_eq!(parser.last_id(), Some("12"));
        }
    }

    #[test]
    fn an_id_without_data_moves_the_cursor_alone() {
        let mut parser = Parser::default();
        assert!(parser.feed(b"id: 7\n\n").is_empty());
        assert_eq!(parser.last_id(), Some("7"));
        assert!(parser.feed(b"id: 8\n").is_empty());
        assert_eq!(parser.last_id(), Some("7"));
    }
}
