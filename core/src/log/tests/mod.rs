//! The log, tested through its handle on storage whose faults are chosen.
