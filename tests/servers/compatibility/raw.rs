//! Sends HTTP requests without the SDK and without this crate.

use std::io::{Read, Write};
use std::net::TcpStream;

use serde_json::Value;

pub struct Response {
    pub status: u16,
    /// Body as received. Chunked bodies are not decoded, because the tests read no body of a server that sends chunks.
    pub body: Vec<u8>,
}

pub async fn json(endpoint: &str, operation: &str, body: Value) -> Response {
    post(endpoint, operation, "application/x-amz-json-1.1", body.to_string().into_bytes()).await
}

pub async fn cbor(endpoint: &str, operation: &str, body: ciborium::Value) -> Response {
    let mut bytes = Vec::new();
    ciborium::into_writer(&body, &mut bytes).expect("writing to a Vec succeeds");
    post(endpoint, operation, "application/x-amz-cbor-1.1", bytes).await
}

async fn post(endpoint: &str, operation: &str, content_type: &str, body: Vec<u8>) -> Response {
    let address = endpoint.strip_prefix("http://").expect("the endpoint has no TLS").to_owned();
    // The servers require a signature but do not verify it.
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
        let mut response = Vec::new();
        stream.read_to_end(&mut response).map(|_| response)
    };
    let response = tokio::task::spawn_blocking(exchange).await.expect("the task does not panic");
    let response = response.expect("the server responds");
    let end = response
        .windows(4)
        .position(|bytes| bytes == b"\r\n\r\n")
        .expect("the response has a head");
    let status = std::str::from_utf8(&response[9..12]).expect("the response has a status").parse();
    Response { status: status.expect("the status is a number"), body: response[end + 4..].to_vec() }
}
