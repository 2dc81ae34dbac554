//! The peer: SQLite with a write-ahead log that is synced at each commit. It has no index beside its own and no hashes,
//! so it does less.

use crate::Outcome;
use rusqlite::Connection;
use std::{path::Path, sync::mpsc, thread};
use tokio::sync::oneshot;

/// One connection.
pub struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// Makes a database with one table.
    pub fn create(path: &Path) -> Outcome<Self> {
        let connection = Connection::open(path)?;
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
        if mode != "wal" {
            return Err(format!("SQLite refuses a write-ahead log: its mode is {mode}").into());
        }
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.execute(
            "CREATE TABLE events (position INTEGER PRIMARY KEY, stream BLOB, version INTEGER, data BLOB)",
            [],
        )?;
        Ok(Self { connection })
    }

    /// Inserts so many events in one transaction.
    pub fn append(&mut self, count: usize, data: &[u8]) -> Outcome<usize> {
        let transaction = self.connection.transaction()?;
        {
            let mut insert =
                transaction.prepare_cached("INSERT INTO events (stream, version, data) VALUES (?1, ?2, ?3)")?;
            for version in 0..count {
                insert.execute((&[7u8; 16][..], version as i64, data))?;
            }
        }
        transaction.commit()?;
        Ok(count)
    }
}

/// A thread that writes for many: all that waits goes into one transaction.
#[derive(Clone)]
pub struct SqliteWriter {
    requests: mpsc::Sender<oneshot::Sender<()>>,
}

impl SqliteWriter {
    /// Starts the thread, which ends with the last handle.
    pub fn start(path: &Path, data: Vec<u8>) -> Outcome<Self> {
        let mut sqlite = Sqlite::create(path)?;
        let (requests, waiting) = mpsc::channel::<oneshot::Sender<()>>();
        thread::Builder::new().name("sqlite".into()).spawn(move || {
            while let Ok(first) = waiting.recv() {
                let group: Vec<_> = std::iter::once(first).chain(waiting.try_iter()).collect();
                if let Err(error) = sqlite.append(group.len(), &data) {
                    eprintln!("SQLite: {error}");
                    return;
                }
                for answer in group {
                    // Whoever stopped waiting does not mind.
                    let _ = answer.send(());
                }
            }
        })?;
        Ok(Self { requests })
    }

    /// Inserts one event; returns when it is durable.
    pub async fn append(self) -> Outcome {
        let (answer, written) = oneshot::channel();
        self.requests.send(answer)?;
        Ok(written.await?)
    }
}
