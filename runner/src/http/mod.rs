//! The operation `http`: one request of a script (`request`), within what the configuration allows (`policy`), and
//! never to an address that is not public (`address`, `resolver`). In a simulation a host of its own answers (`hosted`).

mod address;
mod hosted;
mod input;
mod policy;
mod request;
mod resolver;

pub use address::{AllowedNetwork, InvalidNetwork, is_public};
pub use hosted::{HostedAnswer, HostedRequest, HttpHost};
pub use policy::{HttpOptions, HttpPolicy};
pub use request::perform;
