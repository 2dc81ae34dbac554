//! Jobs made by chance.
