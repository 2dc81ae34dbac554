//! A lean HTTP/1.1 client that keeps its connection: what it costs is missing to the server on the same machine.

use crate::Outcome;
use serde::Deserialize;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A connection with one request at a time.
pub struct Connection {
    stream: BufReader<TcpStream>,
    address: SocketAddr,
}

/// What an answer's head says.
struct Head {
    status: u16,
    body: Body,
}

enum Body {
    Bytes(usize),
    Chunks,
}

impl Connection {
    /// Connects.
    pub async fn open(address: SocketAddr) -> Outcome<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::with_capacity(16 << 10, stream), address })
    }

    /// Sends a request and reads the whole answer: its status and body.
    pub async fn request(&mut self, method: &str, path: &str, body: &[u8]) -> Outcome<(u16, Vec<u8>)> {
        self.send(method, path, "*/*", body).await?;
        let head = self.head().await?;
        let mut bytes = Vec::new();
        match head.body {
            Body::Bytes(length) => {
                bytes.resize(length, 0);
                self.stream.read_exact(&mut bytes).await?;
            }
            Body::Chunks => while self.chunk(&mut bytes).await? {},
        }
        Ok((head.status, bytes))
    }

    /// `GET`, as JSON.
    pub async fn get(&mut self, path: &str) -> Outcome<Value> {
        let (status, body) = self.request("GET", path, b"").await?;
        if status != 200 {
            return Err(unexpected(path, status, &body));
        }
        Ok(serde_json::from_slice(&body)?)
    }

    /// `POST`, where one of the statuses is as it should be.
    pub async fn post(&mut self, path: &str, body: &[u8], wanted: &[u16]) -> Outcome<Vec<u8>> {
        let (status, answer) = self.request("POST", path, body).await?;
        if wanted.contains(&status) { Ok(answer) } else { Err(unexpected(path, status, &answer)) }
    }

    /// Opens a feed of server-sent events, and keeps the connection for it.
    pub async fn feed(mut self, path: &str) -> Outcome<Feed> {
        self.send("GET", path, "text/event-stream", b"").await?;
        match self.head().await? {
            Head { status: 200, body: Body::Chunks } => Ok(Feed { connection: self, bytes: Vec::new(), taken: 0 }),
            Head { status, .. } => Err(unexpected(path, status, b"")),
        }
    }

    async fn send(&mut self, method: &str, path: &str, accept: &str, body: &[u8]) -> Outcome {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: {}\r\naccept: {accept}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        Ok(self.stream.get_mut().write_all(&bytes).await?)
    }

    async fn head(&mut self) -> Outcome<Head> {
        let mut line = String::new();
        read_line(&mut self.stream, &mut line).await?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or("no status")?;
        let mut body = Body::Bytes(0);
        loop {
            read_line(&mut self.stream, &mut line).await?;
            let Some((name, value)) = line.split_once(':') else { return Ok(Head { status, body }) };
            if name.eq_ignore_ascii_case("content-length") {
                body = Body::Bytes(value.trim().parse()?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                body = Body::Chunks;
            }
        }
    }

    /// Reads a chunk to the end of `bytes`; whether it was not the last.
    async fn chunk(&mut self, bytes: &mut Vec<u8>) -> Outcome<bool> {
        let mut line = String::new();
        read_line(&mut self.stream, &mut line).await?;
        let length = usize::from_str_radix(line.trim(), 16)?;
        let start = bytes.len();
        bytes.resize(start + length + 2, 0);
        self.stream.read_exact(&mut bytes[start..]).await?;
        bytes.truncate(start + length);
        Ok(length > 0)
    }
}

/// A feed of server-sent events.
pub struct Feed {
    connection: Connection,
    bytes: Vec<u8>,
    taken: usize,
}

impl Feed {
    /// The `data` of the next event; `None` at the feed's end.
    pub async fn next(&mut self) -> Outcome<Option<String>> {
        loop {
            if let Some(end) = find(&self.bytes[self.taken..], b"\n\n") {
                let message = &self.bytes[self.taken..self.taken + end];
                self.taken += end + 2;
                let data = message.split(|byte| *byte == b'\n').find_map(|line| line.strip_prefix(b"data:"));
                if let Some(data) = data {
                    return Ok(Some(String::from_utf8(data.to_vec())?));
                }
                continue;
            }
            self.bytes.drain(..self.taken);
            self.taken = 0;
            if !self.connection.chunk(&mut self.bytes).await? {
                return Ok(None);
            }
        }
    }
}

/// The number that is a job's result: all that a client who knows what it has submitted reads of the answer.
pub fn result(job: &[u8]) -> Option<usize> {
    #[derive(Deserialize)]
    struct Job {
        result: Option<usize>,
    }
    serde_json::from_slice::<Job>(job).ok()?.result
}

/// A job with so many steps gives their number.
pub fn expect(result: Option<usize>, steps: usize, answer: &[u8]) -> Outcome {
    if result == Some(steps) {
        return Ok(());
    }
    Err(format!("a job went wrong: {}", String::from_utf8_lossy(answer)).into())
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

async fn read_line(stream: &mut (impl AsyncBufRead + Unpin), line: &mut String) -> Outcome {
    line.clear();
    match stream.read_line(line).await? {
        0 => Err("the server closed the connection".into()),
        _ => Ok(()),
    }
}

fn unexpected(path: &str, status: u16, body: &[u8]) -> Box<dyn std::error::Error + Send + Sync> {
    format!("{path} answered {status}: {}", String::from_utf8_lossy(body)).into()
}
