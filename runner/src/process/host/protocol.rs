//! What server, host and supervisors say to each other. All of them are the same binary, so there are no versions.
//!
//! ```text
//! request = length:u32  program arg0 workdir  count:u32 arg*  count:u32 (name value)*     each string: length:u32 bytes
//! report  = tag:i32 value:i32          supervisor to server
//! order   = tag:i32 value:i32          server to supervisor
//! ```
//! With a request's first byte go four descriptors: input, output, error, and the supervisor's end of its connection.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt, OsStringExt},
};

/// How many bytes a report and an order have.
pub(super) const MESSAGE_BYTES: usize = 8;

/// What is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::process) struct SpawnRequest {
    /// The program's path.
    pub program: OsString,
    /// What it is told its name is.
    pub arg0: OsString,
    /// An absolute path.
    pub workdir: OsString,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// Its whole environment.
    pub env: Vec<(OsString, OsString)>,
}

impl SpawnRequest {
    /// The request's bytes, length first.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; 4];
        for text in [&self.program, &self.arg0, &self.workdir] {
            put(&mut out, text);
        }
        put_count(&mut out, self.args.len());
        self.args.iter().for_each(|arg| put(&mut out, arg));
        put_count(&mut out, self.env.len());
        for (name, value) in &self.env {
            put(&mut out, name);
            put(&mut out, value);
        }
        let length = (out.len() - 4) as u32;
        out[..4].copy_from_slice(&length.to_le_bytes());
        out
    }

    /// Reads what [`Self::encode`] wrote behind the length.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let from = &mut bytes;
        let (program, arg0, workdir) = (take(from)?, take(from)?, take(from)?);
        let args = (0..take_count(from)?).map(|_| take(from)).collect::<Option<_>>()?;
        let env = (0..take_count(from)?).map(|_| Some((take(from)?, take(from)?))).collect::<Option<_>>()?;
        Some(Self { program, arg0, workdir, args, env })
    }
}

fn put_count(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&(count as u32).to_le_bytes());
}

fn put(out: &mut Vec<u8>, text: &OsStr) {
    put_count(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

fn take_count(from: &mut &[u8]) -> Option<usize> {
    let (count, rest) = from.split_first_chunk::<4>()?;
    *from = rest;
    Some(u32::from_le_bytes(*count) as usize)
}

fn take(from: &mut &[u8]) -> Option<OsString> {
    let length = take_count(from)?;
    let (text, rest) = from.split_at_checked(length)?;
    *from = rest;
    Some(OsString::from_vec(text.to_vec()))
}

/// What a supervisor tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Report {
    /// It is about to start the command. Before this, nothing has happened and the request can be made again.
    Starting,
    /// The command runs, with this process id.
    Started(i32),
    /// It could not be started, for this `errno`.
    Failed(i32),
    /// It ended by itself, with this exit code.
    Exited(i32),
    /// This signal ended it.
    Signalled(i32),
    /// Nothing is left of it and all that it started.
    Gone,
    /// Something is left that cannot be killed.
    Remains,
}

/// What a supervisor is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Send this signal to the command's group.
    Signal(i32),
    /// Kill everything.
    Kill,
}

impl Report {
    pub(super) fn encode(self) -> [u8; MESSAGE_BYTES] {
        message(match self {
            Self::Starting => (1, 0),
            Self::Started(pid) => (2, pid),
            Self::Failed(errno) => (3, errno),
            Self::Exited(code) => (4, code),
            Self::Signalled(signal) => (5, signal),
            Self::Gone => (6, 0),
            Self::Remains => (7, 0),
        })
    }

    pub(super) fn decode(bytes: [u8; MESSAGE_BYTES]) -> Option<Self> {
        Some(match parts(bytes) {
            (1, _) => Self::Starting,
            (2, pid) => Self::Started(pid),
            (3, errno) => Self::Failed(errno),
            (4, code) => Self::Exited(code),
            (5, signal) => Self::Signalled(signal),
            (6, _) => Self::Gone,
            (7, _) => Self::Remains,
            _ => return None,
        })
    }
}

impl Order {
    pub(super) fn encode(self) -> [u8; MESSAGE_BYTES] {
        message(match self {
            Self::Signal(signal) => (1, signal),
            Self::Kill => (2, 0),
        })
    }

    pub(super) fn decode(bytes: [u8; MESSAGE_BYTES]) -> Option<Self> {
        Some(match parts(bytes) {
            (1, signal) => Self::Signal(signal),
            (2, _) => Self::Kill,
            _ => return None,
        })
    }
}

fn message((tag, value): (i32, i32)) -> [u8; MESSAGE_BYTES] {
    let ([a, b, c, d], [e, f, g, h]) = (tag.to_le_bytes(), value.to_le_bytes());
    [a, b, c, d, e, f, g, h]
}

fn parts([a, b, c, d, e, f, g, h]: [u8; MESSAGE_BYTES]) -> (i32, i32) {
    (i32::from_le_bytes([a, b, c, d]), i32::from_le_bytes([e, f, g, h]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let request = SpawnRequest {
            program: "/bin/sh".into(),
            arg0: "sh".into(),
            workdir: "/".into(),
            args: vec!["-c".into(), OsString::from_vec(vec![0xff, b'\n'])],
            env: vec![("A".into(), "".into()), ("B".into(), "1".into())],
        };
        let bytes = request.encode();
        assert_eq!(SpawnRequest::decode(&bytes[4..]).as_ref(), Some(&request));
        assert_eq!(SpawnRequest::decode(&bytes[4..bytes.len() - 1]), None);
    }

    #[test]
    fn messages_are_read_as_they_were_written() {
        for report in [
            Report::Starting,
            Report::Started(7),
            Report::Failed(2),
            Report::Exited(-1),
            Report::Signalled(9),
            Report::Gone,
            Report::Remains,
        ] {
            assert_eq!(Report::decode(report.encode()), Some(report));
        }
        for order in [Order::Signal(15), Order::Kill] {
            assert_eq!(Order::decode(order.encode()), Some(order));
        }
    }
}
