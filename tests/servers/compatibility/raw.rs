//! Requests by hand: neither the SDK nor this crate has a word in them.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

/// What a server answers.
pub struct Answer {
    pub status: u16,
    /// As it came over the wire. The servers whose bodies are looked at send them in one piece.
    pub body: Vec<u8>,
}

/// Posts a request in JSON.
pub async fn json(endpoint: &str, operation: &str, body: Value) -> Answer {
    post(endpoint, operation, "application/x-amz-json-1.1", body.to_string().into_bytes()).await
}

/// Posts a request in CBOR.
pub async fn cbor(endpoint: &str, operation: &str, body: ciborium::Value) -> Answer {
    let mut bytes = Vec::new();
    ciborium::into_writer(&body, &mut bytes).expect("a Vec grows");
    post(endpoint, operation, "application/x-amz-cbor-1.1", bytes).await
}

async fn post(endpoint: &str, operation: &str, content_type: &str, body: Vec<u8>) -> Answer {
    let address = endpoint.strip_prefix("http://").expect("it has no TLS").to_owned();
    // The servers check that there is a signature, and not what it signs.
    let head = format!(
        "POST / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Type: {content_type}\r\n\
         Content-Length: {length}\r\nX-Amz-Target: Kinesis_20131202.{operation}\r\n\
         X-Amz-Date: 20260101T000000Z\r\nAuthorization: AWS4-HMAC-SHA256 \
         Credential=local/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0\
         \r\n\r\n",
        length = body.len()
    );
    let exchange = move || {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(head.as_bytes())?;
        stream.write_all(&body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).map(|_| answer)
    };
    let answer = tokio::task::spawn_blocking(exchange).await.expect("it does not panic");
    let answer = answer.expect("the server answers");
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").expect("it has a head");
    let status = std::str::from_utf8(&answer[9..12]).expect("it has a status").parse();
    Answer { status: status.expect("it is a number"), body: answer[end + 4..].to_vec() }
}
