//! Kinesis server that blocks PutRecords requests until the test releases them.

use axum::Router;
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use tokio::sync::watch;

use crate::support::embedded::Embedded;

pub struct GatedServer {
    pub server: Embedded,
    gate: watch::Sender<bool>,
}

impl GatedServer {
    pub async fn start() -> Self {
        let (gate, is_open) = watch::channel(false);
        let wrap = |app: Router| {
            app.layer(from_fn(move |request: Request, next: Next| {
                let mut is_open = is_open.clone();
                async move {
                    if is_put_records(&request) {
                        let _ = is_open.wait_for(|is_open| *is_open).await;
                    }
                    next.run(request).await
                }
            }))
        };
        Self { server: Embedded::start_in(2, false, wrap).await.unwrap(), gate }
    }

    pub fn release(&self) {
        self.gate.send_replace(true);
    }
}

fn is_put_records(request: &Request) -> bool {
    let action = request.headers().get("x-amz-target").map(|action| action.as_bytes());
    action.is_some_and(|action| action.ends_with(b".PutRecords"))
}
