//! The operation's input.
