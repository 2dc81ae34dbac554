//! How often jobs start and models are asked: sliding windows over the last minute. What was started and asked before a
//! restart counts on: at a start the windows are filled from the log (`recover`), so that nothing is stored for them.

mod models;
mod recover;
mod starts;

pub(crate) use models::{Admitted, Held, ModelRates};
pub(crate) use recover::recover;
pub(crate) use starts::StartRates;
