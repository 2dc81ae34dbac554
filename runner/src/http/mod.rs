//! The operation `http`: one request of a script (`request`), within what the configuration allows (`policy`), and
//! never to an address that is not public (`address`, `resolver`).

mod address;
mod input;
mod policy;
mod request;
mod resolver;

pub use address::{AllowedNetwork, InvalidNetwork, is_public};
pub use policy::{HttpOptions, HttpPolicy};
pub(crate) use request::failure;
pub use request::perform;
