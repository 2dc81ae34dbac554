//! Standard input, line by line, read by a thread of its own: a read of a terminal cannot be broken off.

use std::io::BufRead;
use tokio::sync::mpsc;

/// Lines that are read before they are used.
const LINES_AHEAD: usize = 1;

/// The lines. `None` is the end.
pub fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(LINES_AHEAD);
    std::thread::spawn(move || {
        let mut whole = String::new();
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            match line.strip_suffix('\\') {
                Some(begun) => {
                    whole.push_str(begun);
                    whole.push('\n');
                }
                None => {
                    whole.push_str(&line);
                    if sender.blocking_send(std::mem::take(&mut whole)).is_err() {
                        return;
                    }
                }
            }
        }
        if !whole.is_empty() {
            let _ = sender.blocking_send(whole);
        }
    });
    receiver
}
