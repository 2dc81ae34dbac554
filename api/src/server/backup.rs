//! The log as one compressed stream, while the server goes on.

use super::{
    app::App,
    problem::Problem,
    reply::{self, Response},
    request::Request,
};
use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use moonlog_core::log::Backup;
use std::{
    io::{self, Write},
    mem,
    sync::Arc,
    time::Duration,
};
use tokio::{runtime::Handle, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use warp::http::{HeaderValue, Method, StatusCode, header};

/// About how much is handed over at once.
const PIECE_BYTES: usize = 256 << 10;
/// How many pieces may wait for the client.
const PIECES: usize = 4;

const WENT_AWAY: &str = "the client went away";

type Piece = Result<Bytes, io::Error>;

/// `GET /v1/backup`
pub async fn give(app: Arc<App>, request: Request) -> Result<Response, Problem> {
    // One at a time: while one is read nothing can be deleted, so it should be over soon.
    let Ok(turn) = app.backups.clone().try_acquire_owned() else {
        let text = "a backup is under way; try again when it is done";
        return Err(Problem::new(StatusCode::CONFLICT, "backup_under_way", text).retry_after_ms(5_000));
    };
    let media_type = HeaderValue::from_static("application/gzip");
    if request.head.method == Method::HEAD {
        let mut response = reply::empty(StatusCode::OK);
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        return Ok(response);
    }
    let backup = app.runner.log().backup().await;
    let position = backup.position();
    let (pieces, given) = mpsc::channel(PIECES);
    let stall = app.options.limits.backup_stall;
    let runtime = Handle::current();
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        if let Err(error) = write(backup, &pieces, &runtime, stall) {
            tracing::warn!(%error, "a backup was cut");
            // The connection is cut, so that the client knows that this was not the end.
            let _ = runtime.block_on(timeout(stall, pieces.send(Err(error))));
        }
    });
    let mut response = reply::stream(media_type, ReceiverStream::new(given));
    let headers = response.headers_mut();
    headers.insert("moonlog-position", HeaderValue::from(position));
    headers.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"moonlog.backup\""));
    Ok(response)
}

/// Hands a backup over. A client that takes nothing for too long keeps jobs from being deleted, and is given no more.
fn write(mut backup: Backup, pieces: &mpsc::Sender<Piece>, runtime: &Handle, stall: Duration) -> io::Result<()> {
    let mut packed = GzEncoder::new(Vec::with_capacity(2 * PIECE_BYTES), Compression::fast());
    let give = |piece: Vec<u8>| match runtime.block_on(timeout(stall, pieces.send(Ok(piece.into())))) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(io::Error::new(io::ErrorKind::BrokenPipe, WENT_AWAY)),
        Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the client took nothing for limits.backup_stall_ms")),
    };
    while let Some(bytes) = backup.next_bytes().map_err(io::Error::other)? {
        // What is packed well gives a piece now and then only.
        if pieces.is_closed() {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, WENT_AWAY));
        }
        packed.write_all(&bytes)?;
        if packed.get_ref().len() >= PIECE_BYTES {
            give(mem::take(packed.get_mut()))?;
        }
    }
    give(packed.finish()?)
}
