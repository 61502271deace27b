//! What can happen to a connection.

use bytes::Bytes;

/// What the proxy does to one request, or to the connection that it would have come through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Resets the connection before anything of the request is read.
    Reset,
    /// Closes the connection as if there were no request.
    Close,
    /// Takes a byte a second of the request, and passes it on.
    TrickleRequest,
    /// Answers in the server's place, which gets nothing of the request, and closes the connection.
    Answer(Bytes),
    /// Has the server answer the request, and spoils the answer.
    Spoil(Spoilt),
}

/// What becomes of an answer. The records of the request are written, and nobody is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spoilt {
    /// The connection is reset in its place.
    Reset,
    /// The first half comes, then the connection is closed.
    Half,
    /// It never comes, and the connection stays open.
    Never,
    /// It comes at a byte a second.
    Trickle,
    /// These bytes come in its place, then the connection is closed.
    Other(Bytes),
}

/// A well-formed HTTP answer with this status and body.
pub fn answer(status: &str, body: &[u8]) -> Bytes {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat().into()
}
