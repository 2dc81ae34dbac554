//! What every storage must do, run against each.
