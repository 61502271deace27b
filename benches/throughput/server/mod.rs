//! A server process that responds to each PutRecords request with success and only counts the entries.

mod count;
mod response;

use std::convert::Infallible;
use std::io::{Read, Write};
use std::rc::Rc;
use std::time::Duration;
use std::{io, process, thread};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};

use self::response::Responses;
pub use self::response::SHARD_ID;

pub const STATS: &str = "/stats";

#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Stats {
    pub requests: u64,
    pub entries: u64,
    /// Total size of the request bodies in bytes.
    pub bytes: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Protocol {
    Json,
    Cbor,
}

impl Protocol {
    fn of(request: &Request<Incoming>) -> Self {
        let content_type = request.headers().get(CONTENT_TYPE);
        match content_type.map(HeaderValue::as_bytes) {
            Some(Self::CBOR) => Self::Cbor,
            _ => Self::Json,
        }
    }

    const CBOR: &[u8] = b"application/x-amz-cbor-1.1";

    fn content_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Json => "application/x-amz-json-1.1",
            Self::Cbor => "application/x-amz-cbor-1.1",
        })
    }
}

/// Listens on a free port of the loopback interface and prints the port. Exits when standard input is closed.
pub fn serve(round_trip: Duration) -> io::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let mut stdout = io::stdout();
        writeln!(stdout, "{}", listener.local_addr()?.port())?;
        stdout.flush()?;
        thread::spawn(|| {
            let _ = io::stdin().read_to_end(&mut Vec::new());
            process::exit(0);
        });
        let responses = Rc::new(Responses::default());
        loop {
            let (connection, _) = listener.accept().await?;
            connection.set_nodelay(true)?;
            let responses = responses.clone();
            let service =
                service_fn(move |request| respond(responses.clone(), request, round_trip));
            spawn_local(async move {
                let connection = TokioIo::new(connection);
                // Errors are ignored, because the client compares the counters of the server with its own.
                let _ = http1::Builder::new().serve_connection(connection, service).await;
            });
        }
    })
}

async fn respond(
    responses: Rc<Responses>,
    request: Request<Incoming>,
    round_trip: Duration,
) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.method() == Method::GET && request.uri().path() == STATS {
        let stats = serde_json::to_vec(&responses.stats()).expect("the counters are serializable");
        return Ok(Response::new(Full::from(stats)));
    }
    let protocol = Protocol::of(&request);
    let Ok(body) = request.into_body().collect().await else {
        return Ok(bad_request("incomplete body"));
    };
    let body = body.to_bytes();
    let Some(entries) = count::entries(protocol, &body) else {
        return Ok(bad_request("invalid body"));
    };
    if round_trip > Duration::ZERO {
        tokio::time::sleep(round_trip).await;
    }
    let mut response = Response::new(Full::new(responses.respond(protocol, entries, body.len())));
    response.headers_mut().insert(CONTENT_TYPE, protocol.content_type());
    Ok(response)
}

fn bad_request(reason: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(reason));
    *response.status_mut() = hyper::StatusCode::BAD_REQUEST;
    response
}
