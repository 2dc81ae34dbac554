//! `moonlog chat`: a conversation in the terminal.

use crate::cli::{
    args::Chat,
    chat::converse,
    connect::Connection,
    failure::{Failure, Status},
};

/// Runs the command.
pub async fn run(connection: &Connection, options: &Chat) -> Result<Status, Failure> {
    converse(connection, options).await
}
