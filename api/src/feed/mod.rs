//! Feeds: events of the log for those who follow it. `hub` opens them; a feed (`follow`) holds a cursor and nothing else:
//! it is woken (`pulse`, or the log's own watch of a stream), reads a page by position (`reader`), keeps what its
//! `filter` wants, and takes each event's text from what all feeds share (`render`). Nothing here knows HTTP but for the
//! form of server-sent events.

mod filter;
mod follow;
mod hub;
mod page;
mod pulse;
mod reader;
mod render;

#[cfg(test)]
mod tests;

pub use filter::{Filter, InvalidTypes, Types};
pub use follow::{Follow, Format};
pub use hub::{FeedHub, FeedOptions, FeedStats};
pub use page::{EventPage, read_page};
pub use reader::{FeedError, Reader, Scope};
