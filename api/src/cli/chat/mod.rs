//! `moonlog chat`: a conversation in the terminal. What is typed goes to the server as any client's messages do; what is
//! shown comes from the session's feed, so that a second terminal sees the same.

mod conversation;
mod input;
mod question;
mod screen;
mod typed;

pub use conversation::converse;
