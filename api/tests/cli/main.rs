//! The command line from outside: the real binary, real folders, real processes, real repositories.

mod followed;
mod place;
mod replayed;
mod report;
mod served;
mod statuses;
