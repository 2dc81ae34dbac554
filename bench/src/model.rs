//! A model server on loopback that answers at once: chat completions as streams. What it says follows from the path that
//! it is asked under, so that one server plays several models.
//!
//! ```text
//! /turns/N/chat/completions    calls a tool until N - 1 results are there, then answers
//! /pieces/N/chat/completions   an answer in N pieces, each as large as a delta gets
//! ```

use crate::Outcome;
use std::net::SocketAddr;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// The size of a piece: gathered pieces of this size are recorded at once.
pub const PIECE_BYTES: usize = 4_096;

/// Serves until the runtime ends. Gives where.
pub async fn serve() -> Outcome<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that goes away in the middle is no fault of ours.
            tokio::spawn(async move { answer(stream).await.ok() });
        }
    });
    Ok(address)
}

async fn answer(mut stream: TcpStream) -> Outcome {
    stream.set_nodelay(true)?;
    let (mut read, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let (head, length) = loop {
            if let Some(at) = read.windows(4).position(|window| window == b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&read[..at]).into_owned();
                let length = head.lines().find_map(|line| {
                    let (name, value) = line.split_once(':')?;
                    name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
                });
                if read.len() >= at + 4 + length.unwrap_or(0) {
                    break (head, at + 4 + length.unwrap_or(0));
                }
            }
            match stream.read(&mut buffer).await? {
                0 => return Ok(()),
                count => read.extend_from_slice(&buffer[..count]),
            }
        };
        let body = String::from_utf8_lossy(&read[..length]).into_owned();
        read.drain(..length);
        let path = head.split_whitespace().nth(1).unwrap_or_default();
        let number = |kind: &str| -> Option<usize> { path.strip_prefix(kind)?.split('/').next()?.parse().ok() };
        let mut out =
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
        if let Some(pieces) = number("/pieces/") {
            let delta = format!("{{\"content\":\"{}\"}}", "x".repeat(PIECE_BYTES));
            for _ in 0..pieces {
                chunk(&mut out, &delta, "null");
                stream.write_all(&out).await?;
                out.clear();
            }
            chunk(&mut out, "{}", "\"stop\"");
        } else {
            let results = body.matches("\"role\":\"tool\"").count();
            if results + 1 < number("/turns/").unwrap_or(1) {
                // Another input each time: the same call over and over is stopped.
                let arguments = format!("{{\\\"limit\\\":{}}}", results + 1);
                let call = format!(
                    "{{\"tool_calls\":[{{\"index\":0,\"id\":\"\",\"function\":{{\"name\":\"process_list\",\"arguments\":\"{arguments}\"}}}}]}}"
                );
                chunk(&mut out, &call, "null");
                chunk(&mut out, "{}", "\"tool_calls\"");
            } else {
                chunk(&mut out, "{\"content\":\"It is done, and all is well.\"}", "null");
                chunk(&mut out, "{}", "\"stop\"");
            }
        }
        let usage =
            "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":100,\"completion_tokens\":10}}\n\ndata: [DONE]\n\n";
        out.extend(format!("{:x}\r\n{usage}\r\n0\r\n\r\n", usage.len()).bytes());
        stream.write_all(&out).await?;
    }
}

/// Adds a chunk with this delta.
fn chunk(out: &mut Vec<u8>, delta: &str, reason: &str) {
    let data = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{reason}}}]}}\n\n");
    out.extend(format!("{:x}\r\n{data}\r\n", data.len()).bytes());
}
