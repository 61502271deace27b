//! A server that implements the Lambda Runtime API.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};
use tokio::task::JoinHandle;

const TIMEOUT: Duration = Duration::from_secs(30);

/// A server on a free port of the loopback interface. Dropping the value stops the server.
pub struct RuntimeApi {
    address: String,
    events: mpsc::UnboundedSender<String>,
    answers: mpsc::UnboundedReceiver<Result<Bytes, Bytes>>,
    server: JoinHandle<()>,
}

struct Channels {
    events: Mutex<mpsc::UnboundedReceiver<String>>,
    answers: mpsc::UnboundedSender<Result<Bytes, Bytes>>,
}

impl RuntimeApi {
    pub async fn start() -> anyhow::Result<Self> {
        let (events, event_receiver) = mpsc::unbounded_channel();
        let (answer_sender, answers) = mpsc::unbounded_channel();
        let channels = Channels { events: Mutex::new(event_receiver), answers: answer_sender };
        let app = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route("/2018-06-01/runtime/invocation/{id}/response", post(response))
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(error))
            .layer(DefaultBodyLimit::max(6 << 20))
            .with_state(Arc::new(channels));
        let listener =
            TcpListener::bind("127.0.0.1:0").await.context("cannot bind a port of 127.0.0.1")?;
        let address = listener.local_addr()?.to_string();
        let server = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                eprintln!("Lambda Runtime API failed: {error}");
            }
        });
        Ok(Self { address, events, answers, server })
    }

    pub fn environment(&self) -> [(&'static str, &str); 4] {
        [
            ("AWS_LAMBDA_RUNTIME_API", &self.address),
            ("AWS_LAMBDA_FUNCTION_NAME", "forward"),
            ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
        ]
    }

    pub async fn invoke(&mut self, event: String) -> anyhow::Result<Bytes> {
        self.events.send(event).ok().context("Lambda Runtime API has stopped")?;
        let answer = tokio::time::timeout(TIMEOUT, self.answers.recv()).await;
        match answer.context("the function timed out")? {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(error)) => {
                anyhow::bail!("the function failed: {}", String::from_utf8_lossy(&error))
            }
            None => anyhow::bail!("Lambda Runtime API has stopped"),
        }
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(channels): State<Arc<Channels>>) -> Response {
    let Some(event) = channels.events.lock().await.recv().await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let deadline = SystemTime::now() + TIMEOUT;
    let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let headers = [
        ("lambda-runtime-aws-request-id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned()),
        ("lambda-runtime-deadline-ms", deadline.as_millis().to_string()),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:forward".to_owned(),
        ),
    ];
    (headers, event).into_response()
}

async fn response(State(channels): State<Arc<Channels>>, answer: Bytes) -> StatusCode {
    // An error means that the receiver of the responses was dropped.
    let _ = channels.answers.send(Ok(answer));
    StatusCode::ACCEPTED
}

async fn error(State(channels): State<Arc<Channels>>, error: Bytes) -> StatusCode {
    let _ = channels.answers.send(Err(error));
    StatusCode::ACCEPTED
}
