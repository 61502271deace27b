//! The faults that the proxy can inject.

use bytes::Bytes;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// Resets the connection before the request is read.
    Reset,
    /// Closes the connection after the request, without forwarding it.
    Close,
    TrickleRequest,
    /// Responds with these bytes instead of forwarding the request, and closes the connection.
    Respond(Bytes),
    Response(ResponseFault),
}

/// A fault in a response. The server has already written the records of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ResponseFault {
    Reset,
    /// Closes the connection after the first half of the response.
    Truncated,
    /// Sends no response and keeps the connection open.
    Missing,
    Trickle,
    /// Sends these bytes instead of the response, then closes the connection.
    Replaced(Bytes),
}

pub fn response(status: &str, body: &[u8]) -> Bytes {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.1\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    [head.as_bytes(), body].concat().into()
}
