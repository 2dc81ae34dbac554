//! Dispatches jobs and performs what scripts ask for: it starts processes, sends requests, waits, and appends what
//! happened. Scripts are decided upon in `scripts`, states in `core`; nothing here knows routes or command lines.

pub mod http;
pub mod process;
pub mod secret;
mod step_result;

pub use step_result::StepResult;
