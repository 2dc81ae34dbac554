//! How moonlog is reached: the configuration, HTTP with its feeds, and the command line. Decisions about jobs are the
//! runner's, never made here.

pub mod bundle;
pub mod cli;
pub mod config;
mod envelope;
pub mod feed;
mod retention;
pub mod server;
