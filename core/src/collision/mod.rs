//! Collisions: two open sessions have changed the same file, and how close to each other. Advisory: nothing is refused
//! because of one. `proximity` compares the lines that two changes touch, `touched` follows lines through the edits of a
//! file that several sessions share, `detect` finds the files.

mod detect;
mod proximity;
mod touched;

pub use detect::{Collision, collisions};
pub use proximity::{Proximity, proximity};
