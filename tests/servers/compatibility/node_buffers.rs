//! Decodes CBOR payloads. kinesalite stores them as the JSON of a Node `Buffer`:
//! `{"type":"Buffer","data":[104,105]}`.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::interceptors::BeforeDeserializationInterceptorContextMut;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_smithy_types::base64;
use aws_smithy_types::body::SdkBody;
use bytes::Bytes;
use futures::stream;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::Value;
use tower::BoxError;

#[derive(Debug)]
pub struct ReadNodeBuffers;

impl ReadNodeBuffers {
    pub fn client(json: &Client) -> Client {
        Client::from_conf(json.config().to_builder().interceptor(Self).build())
    }
}

impl Intercept for ReadNodeBuffers {
    fn name(&self) -> &'static str {
        "ReadNodeBuffers"
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let body = context.response_mut().body_mut();
        let response = std::mem::replace(body, SdkBody::taken());
        let encoded =
            async { encode_buffers(&response.collect().await?.to_bytes()).map(Frame::data) };
        *body = SdkBody::from_body_1_x(StreamBody::new(stream::once(encoded)));
        Ok(())
    }
}

fn encode_buffers(response: &[u8]) -> Result<Bytes, BoxError> {
    let mut response: Value = serde_json::from_slice(response)?;
    let records = response.get_mut("Records").and_then(Value::as_array_mut);
    for record in records.into_iter().flatten() {
        let Some(bytes) = record["Data"].get("data").and_then(Value::as_array) else { continue };
        let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
        let bytes: Option<Vec<u8>> = bytes.iter().map(byte).collect();
        record["Data"] = base64::encode(bytes.ok_or("not an array of bytes")?).into();
    }
    Ok(serde_json::to_vec(&response)?.into())
}
