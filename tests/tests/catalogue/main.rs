//! The built-in workflows, each run whole by the real binary: a scripted model, and everything else real (repositories,
//! files, processes, a web server on loopback).
//!
//! `recorded` replays a log of each that was recorded before. To record them again, where a workflow has changed so that
//! its old log does not fit any more: `WRITE_RECORDED=1 cargo test --workspace --test catalogue`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod bounty_hunt;
mod deep_research;
mod find_issues;
mod fix_tests;
mod multi_review;
mod nightly;
mod plan_verify;
mod readme;
mod recorded;
mod repo_report;
mod stage;
mod unconfigured;
mod web;
