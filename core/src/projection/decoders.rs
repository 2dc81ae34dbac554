//! The rows of a checkpoint one by one, for who tries them with arbitrary bytes: the checksums around them would let
//! hardly any of those come so far.

use super::{
    KeyUse, ProcessPlace, TokenUse, job_row, rows, session_row,
    snapshot::{self, SCHEMA},
};
use crate::{
    codec,
    storage::{MemoryStorage, Storage},
};

/// A row: `kind u8 · row`. What is read of a job or a session is written as something that is read as the same.
pub fn row(bytes: &[u8]) {
    let [kind, row @ ..] = bytes else { return };
    match kind % 6 {
        0 => {
            let _ = job_row::filter_parts(row);
            if let Ok(job) = job_row::decode(row) {
                let again = job_row::encode(&job).ok().and_then(|row| job_row::decode(&row).ok());
                assert!(again.is_some_and(|again| format!("{again:?}") == format!("{job:?}")), "{job:?}");
            }
        }
        1 => {
            if let Ok(session) = session_row::decode(row) {
                let again = session_row::encode(&session).ok().and_then(|row| session_row::decode(&row).ok());
                assert!(again.is_some_and(|again| format!("{again:?}") == format!("{session:?}")), "{session:?}");
            }
        }
        2 => drop(codec::decode::<KeyUse>(row)),
        3 => drop(codec::decode::<TokenUse>(row)),
        4 => drop(codec::decode::<ProcessPlace>(row)),
        _ => head(row),
    }
}

/// A checkpoint's head, behind the number of its form.
fn head(bytes: &[u8]) {
    let storage = MemoryStorage::new();
    let Ok(schema) = codec::encode(&SCHEMA) else { return };
    let mut writes = Vec::new();
    rows::put(snapshot::HEAD_KEY.to_vec(), &[&schema[..], bytes].concat(), &mut writes);
    if storage.write(writes).is_ok() {
        drop(snapshot::load(&storage));
    }
}
