//! Tests of the example `lambda` with a simulated Lambda runtime API.

use std::process::Child;

use bytes::Bytes;
use serde_json::json;

use super::runtime_api::RuntimeApi;
use super::server_process::{blocking, send_signal};
use crate::support::embedded::{Embedded, STREAM};
use crate::support::example_program;
use crate::support::read_back::{From, ReadBack};

fn start(lambda: &RuntimeApi, kinesis: &Embedded) -> Child {
    let mut command = example_program::example("lambda");
    command.envs(lambda.environment()).env("STREAM_NAME", STREAM);
    command.env("AWS_ENDPOINT_URL_KINESIS", kinesis.endpoint()).env("AWS_REGION", "us-east-1");
    command.env("AWS_ACCESS_KEY_ID", "x").env("AWS_SECRET_ACCESS_KEY", "y");
    command.spawn().expect("the example is built")
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lambda_responds_after_delivery() {
    let kinesis = Embedded::start(1, false).await.unwrap();
    let mut lambda = RuntimeApi::start().await.unwrap();
    let mut function = Running(start(&lambda, &kinesis));
    for bodies in [["one", "two"], ["three", "four"]] {
        let message = |body| json!({ "messageId": body, "body": body, "eventSource": "aws:sqs" });
        let event = json!({ "Records": bodies.map(message) }).to_string();
        let response = lambda.invoke(event).await.unwrap();
        assert_eq!(response, r#"{"batchItemFailures":[]}"#);
        let mut read_back = ReadBack::begin(kinesis.client(), STREAM, From::Start).await.unwrap();
        for body in bodies {
            read_back.expect(Bytes::from_static(body.as_bytes()));
        }
        assert_eq!(read_back.finish().await.unwrap().missing, 0);
    }
    let refused = lambda.invoke("{}".to_owned()).await.unwrap_err().to_string();
    assert!(refused.contains("missing field"), "unknown kind of event: {refused}");
    send_signal(&function.0, "-TERM");
    assert!(blocking(move || function.0.wait()).await.unwrap().success());
}
