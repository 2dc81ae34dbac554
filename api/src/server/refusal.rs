//! What hyper refuses by itself, put as every other problem is: heads that are malformed, too large or too slow never reach
//! a handler, and hyper answers them with a bare status or not at all.
//!
//! Such an answer is the last thing that hyper writes, and it has none of the headers that the router gives. It is held back
//! until it is known what became of the connection: where that ended with an error, a problem is sent in its place. If
//! hyper reads on instead, it was no refusal but the end of a body that looks like one, and is let go.

use super::{connections::Activity, problem::Problem};
use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf},
    net::TcpStream,
};
use warp::http::StatusCode;

/// An answer of hyper's own is shorter.
const BARE_MAX_BYTES: usize = 256;
/// How long the client may go on sending before the connection is cut: what it has not sent yet when it is cut may cost it
/// the answer.
const LINGER: Duration = Duration::from_secs(1);

/// A connection, as hyper reads and writes it.
pub struct Watched {
    stream: TcpStream,
    activity: Arc<Activity>,
    /// What may be a refusal of hyper's own.
    held: Vec<u8>,
    /// How much came since the last answer, and how much of it is its first line, in bytes.
    came_bytes: usize,
    line_bytes: Option<usize>,
}

impl Watched {
    /// Watches a connection.
    pub fn new(stream: TcpStream, activity: Arc<Activity>) -> Self {
        Self { stream, activity, held: Vec::new(), came_bytes: 0, line_bytes: None }
    }

    /// Ends the connection that hyper is done with. Returns the status of a refusal.
    pub async fn end(mut self, ended: Result<(), hyper::Error>) -> Option<StatusCode> {
        let problem = ended.as_ref().err().and_then(|error| self.problem(error));
        let last = problem.as_ref().map_or_else(|| std::mem::take(&mut self.held), Problem::to_http1);
        // Whoever is gone hears nothing.
        let _ = self.stream.write_all(&last).await;
        let _ = self.stream.shutdown().await;
        let problem = problem?;
        let mut rest = [0; 4096];
        let drain = async { while self.stream.read(&mut rest).await.is_ok_and(|count| count > 0) {} };
        let _ = tokio::time::timeout(LINGER, drain).await;
        Some(problem.status())
    }

    fn problem(&self, error: &hyper::Error) -> Option<Problem> {
        let status = self.held.get(9..12).and_then(|digits| StatusCode::from_bytes(digits).ok());
        Some(match status {
            Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE) if !self.is_mostly_line() => Problem::new(
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                "head_too_large",
                "the request's head is larger than limits.header_max_bytes, or has too many headers",
            ),
            Some(StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE | StatusCode::URI_TOO_LONG) => Problem::new(
                StatusCode::URI_TOO_LONG,
                "uri_too_long",
                "the request's path and query are larger than limits.header_max_bytes, or than 65,534 bytes",
            ),
            Some(_) => Problem::bad_request("malformed_request", format!("the request cannot be read: {error}")),
            None if error.is_timeout() && self.came_bytes > 0 => {
                Problem::new(StatusCode::REQUEST_TIMEOUT, "head_timeout", "the request's head did not arrive in time")
            }
            None if error.is_parse_version_h2() => Problem::new(
                StatusCode::HTTP_VERSION_NOT_SUPPORTED,
                "http_version_not_supported",
                "this server takes HTTP/1.0 and HTTP/1.1",
            ),
            None if error.is_incomplete_message() && self.came_bytes > 0 => {
                Problem::bad_request("malformed_request", "the request ends before its head does")
            }
            None => return None,
        })
    }

    /// Whether most of what came is its first line: then that is what is too large.
    fn is_mostly_line(&self) -> bool {
        self.line_bytes.is_none_or(|line| line > self.came_bytes / 2)
    }

    /// Writes what was held back and is no refusal.
    fn let_go(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.held.is_empty() {
            let count = ready!(Pin::new(&mut self.stream).poll_write(cx, &self.held))?;
            self.held.drain(..count);
        }
        Poll::Ready(Ok(()))
    }

    /// Something is answered: what comes now is the next request.
    fn answered(&mut self, count: usize) -> usize {
        (self.came_bytes, self.line_bytes) = (0, None);
        self.activity.moved();
        count
    }
}

/// Where in `bytes` a refusal of hyper's own begins that ends with them.
fn bare_refusal(bytes: &[u8]) -> Option<usize> {
    if !bytes.ends_with(b"\r\n\r\n") {
        return None;
    }
    let from = bytes.len().saturating_sub(BARE_MAX_BYTES);
    let at = from + bytes[from..].windows(9).rposition(|text| text == b"HTTP/1.1 ")?;
    let head = std::str::from_utf8(&bytes[at..]).ok()?;
    let refuses = ["400 ", "414 ", "431 "].iter().any(|status| head[9..].starts_with(status));
    let is_bare = head.contains("content-length: 0\r\n") && !head.contains("x-content-type-options");
    (refuses && is_bare).then_some(at)
}

impl AsyncRead for Watched {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.let_go(cx))?;
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
        let came = &buf.filled()[before..];
        if this.line_bytes.is_none() {
            this.line_bytes = came.iter().position(|byte| *byte == b'\n').map(|at| this.came_bytes + at);
        }
        this.came_bytes = this.came_bytes.saturating_add(came.len());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Watched {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.let_go(cx))?;
        let before = match bare_refusal(bytes) {
            Some(0) => {
                this.held.extend_from_slice(bytes);
                return Poll::Ready(Ok(bytes.len()));
            }
            Some(at) => &bytes[..at],
            None => bytes,
        };
        let count = ready!(Pin::new(&mut this.stream).poll_write(cx, before))?;
        Poll::Ready(Ok(this.answered(count)))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let last = slices.iter().rfind(|slice| !slice.is_empty());
        if last.is_some_and(|last| bare_refusal(last).is_some()) {
            let first = slices.iter().find(|slice| !slice.is_empty());
            return self.poll_write(cx, first.map_or(&[], |first| first));
        }
        let this = self.get_mut();
        ready!(this.let_go(cx))?;
        let count = ready!(Pin::new(&mut this.stream).poll_write_vectored(cx, slices))?;
        Poll::Ready(Ok(this.answered(count)))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(cx)
    }

    /// The connection is shut down at its end, after what is still to be said.
    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bare_refusals_are_told_from_answers() {
        let bare = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\ndate: Thu\r\n\r\n";
        let ours = "HTTP/1.1 400 Bad Request\r\nx-content-type-options: nosniff\r\ncontent-length: 0\r\n\r\n";
        for (bytes, at) in [
            (bare.to_owned(), Some(0)),
            (format!("the end of a body{bare}"), Some(17)),
            (format!("{}{bare}", "x".repeat(1_000)), Some(1_000)),
            (ours.to_owned(), None),
            (format!("{bare}{ours}"), None),
            (bare.replace("400 Bad Request", "200 OK"), None),
            (format!("{bare}body"), None),
            (String::new(), None),
            ("\r\n\r\n".to_owned(), None),
        ] {
            assert_eq!(bare_refusal(bytes.as_bytes()), at, "{bytes}");
        }
    }
}
