//! Looks names up, and keeps addresses away that are not allowed.
