//! Tests that compare the JSON requests and responses of `PutRecords` with those of the SDK.

use std::sync::{Arc, Mutex};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::interceptors::{
    BeforeSerializationInterceptorContextMut, BeforeSerializationInterceptorContextRef,
    BeforeTransmitInterceptorContextRef,
};
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::operation::put_records::PutRecordsInput;
use aws_smithy_json::protocol::aws_json_rpc::AwsJsonRpcProtocol;
use aws_smithy_schema::protocol::SharedClientProtocol;
use aws_smithy_types::error::display::DisplayErrorContext;
use kinesis_sink::service::{Entry, Placement, PutRecords, PutRecordsErrorKind, PutRecordsRequest};
use proptest::prelude::*;
use tower::{BoxError, ServiceExt};

use crate::support::http::{Answer, Wire};
use crate::support::requests::{assert_same_bytes, full_request, request};
use crate::support::response_shapes;

const JSON: &str = "application/x-amz-json-1.1";

fn wire() -> Wire {
    let body = r#"{"Records":[{"ShardId":"shardId-000000000000","SequenceNumber":"1"}]}"#;
    Wire::new(Answer::new(200, JSON, body))
}

fn one_entry() -> PutRecordsRequest {
    let entry = Entry::new("data".into(), Some("key".into()), None);
    PutRecordsRequest::new("example".parse().unwrap(), vec![entry])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn random_request_matches_sdk_bytes(request in request()) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let wire = wire();
        let client = Client::from_conf(wire.config().build());
        runtime.block_on(assert_same_bytes(&wire, &client, &request));
    }
}

#[tokio::test]
async fn full_request_matches_sdk_bytes() {
    let wire = wire();
    let client = Client::from_conf(wire.config().build());
    let request = full_request();
    let sent = assert_same_bytes(&wire, &client, &request).await;
    assert_eq!(sent.header("content-length"), Some(sent.body.len().to_string().as_str()));
    let body: serde_json::Value = serde_json::from_slice(&sent.body).unwrap();
    assert_eq!(body["Records"].as_array().map(Vec::len), Some(request.entries().len()));
}

#[tokio::test]
async fn response_and_error_are_parsed() {
    let wire = wire();
    let client = Client::from_conf(wire.config().build());
    let service = PutRecords::new(&client);
    let response = service.clone().oneshot(one_entry()).await.unwrap();
    assert_eq!(response.results(), [Ok(Placement::new("shardId-000000000000", "1"))]);
    let error = r#"{"__type":"ResourceNotFoundException","message":"no such stream"}"#;
    wire.answer_with(Answer::new(400, JSON, error));
    let error = service.oneshot(one_entry()).await.unwrap_err();
    let fields = (error.code(), error.message(), error.status());
    assert_eq!(fields, (Some("ResourceNotFoundException"), Some("no such stream"), Some(400)));
}

fn bodies_for_two_entries() -> Vec<String> {
    let placed = r#"{"SequenceNumber":"1","ShardId":"shardId-000000000000"}"#;
    let throttled = r#"{"ErrorCode":"ProvisionedThroughputExceededException","ErrorMessage":"Rate \"exceeded\" \u00e9"}"#;
    let nulls = r#"{"SequenceNumber":"2","ShardId":"s","ErrorCode":null,"ErrorMessage":null}"#;
    let both = r#"{"SequenceNumber":"2","ShardId":"s","ErrorCode":"InternalFailure"}"#;
    let twice =
        r#"{"ErrorCode":"InternalFailure","ErrorCode":null,"SequenceNumber":"2","ShardId":"s"}"#;
    let moved = r#"{"SequenceNumber":"2","ShardId":"s","ShardId":null,"SequenceNumber":"4"}"#;
    let new = r#"{"New":{"a":[1,null]},"ShardId":"s","Newer":[[]],"SequenceNumber":"3","EncryptionType":"KMS"}"#;
    let result_pairs = [
        [placed, throttled],
        [nulls, both],
        [twice, moved],
        [new, placed],
        [placed, "{}"],
        [r#"{"ShardId":"s"}"#, r#"{"SequenceNumber":"1"}"#],
        [placed, "null"],
        [placed, "7"],
        [placed, r#"{"ShardId":7}"#],
        [r#"{"ErrorCode":"","SequenceNumber":"2","ShardId":"s"}"#, r#"{"ErrorCode":""}"#],
        [r#"{"ShardId":"","SequenceNumber":"2"}"#, r#"{"ShardId":"s","SequenceNumber":""}"#],
        [placed, r#"{"SequenceNumber":2,"ShardId":"s"}"#],
        [placed, r#"{"ErrorCode":7,"SequenceNumber":"2","ShardId":"s"}"#],
        [placed, r#"{"ErrorCode":false,"SequenceNumber":"2","ShardId":"s"}"#],
        [placed, r#"{"ErrorCode":{},"SequenceNumber":"2","ShardId":"s"}"#],
    ];
    let records = result_pairs.iter().map(|pair| pair.join(",")).chain([
        String::new(),
        placed.to_owned(),
        [placed; 3].join(","),
    ]);
    let around = |records: String| {
        [
            format!(r#"{{"Records":[{records}]}}"#),
            format!(
                r#"{{"New":{{"Records":[]}},"FailedRecordCount":1,"Records":[{records}],"EncryptionType":"X"}}"#
            ),
            format!(r#"{{"FailedRecordCount":"one","Records":[{records}]}}"#),
            format!(r#"{{"FailedRecordCount":"1","Records":[{records}]}}"#),
            format!(r#"{{"FailedRecordCount":null,"Records":[{records}]}}"#),
            format!(r#"{{"FailedRecordCount":1.0,"Records":[{records}]}}"#),
            format!(r#"{{"FailedRecordCount":-1,"Records":[{records}]}}"#),
            format!(r#"{{"FailedRecordCount":4294967296,"Records":[{records}]}}"#),
            format!(r#"{{"EncryptionType":"","Records":[{records}]}}"#),
            format!(r#"{{"EncryptionType":7,"Records":[{records}]}}"#),
            format!(r#"{{"Records":[{records}],"Records":[{placed}]}}"#),
            format!(r#"{{"Records":[{records}]}} and more"#),
        ]
    };
    let without_records =
        ["", "{}", "null", "[]", "<html>", r#"{"Records":null}"#, r#"{"Records":{}}"#];
    records.flat_map(around).chain(without_records.map(str::to_owned)).collect()
}

#[tokio::test]
async fn responses_are_parsed_like_sdk() {
    let wire = wire();
    let client = Client::from_conf(wire.config().build());
    let entry = one_entry().entries()[0].clone();
    let request = PutRecordsRequest::new("example".parse().unwrap(), vec![entry.clone(), entry]);
    let read = async |service: PutRecords| {
        let response = service.oneshot(request.clone()).await;
        response.map(|response| response.into_results()).map_err(|error| error.kind())
    };
    let mut successes = 0;
    let bodies = bodies_for_two_entries();
    let truncated: Vec<_> =
        (0..bodies[1].len()).map(|length| bodies[1][..length].to_owned()).collect();
    for body in bodies.iter().chain(&truncated) {
        wire.answer_with(Answer::new(200, JSON, body.as_str()));
        let sdk = read(PutRecords::new(&client).with_sdk_serialization()).await;
        assert_eq!(read(PutRecords::new(&client)).await, sdk, "{body}");
        successes += usize::from(sdk.is_ok());
    }
    assert!(successes > 8, "too few readable bodies: {successes}");
}

#[tokio::test]
async fn nonstandard_json_results_are_interpreted() {
    let wire = wire();
    let client = Client::from_conf(wire.config().build());
    let services = [PutRecords::new(&client), PutRecords::new(&client).with_sdk_serialization()];
    response_shapes::check(&wire, &services, |answer| Answer::new(200, JSON, answer.to_string()))
        .await;
}

#[tokio::test]
async fn corrupted_response_is_parsed_like_sdk() {
    let wire = wire();
    let client = Client::from_conf(wire.config().build());
    let read = async |service: PutRecords| {
        let response = service.oneshot(one_entry()).await;
        response.map(|response| response.into_results()).map_err(|error| error.kind())
    };
    let answer = r#"{"FailedRecordCount":1,"Records":[{"ErrorCode":"é","ErrorMessage":null,"SequenceNumber":"1","ShardId":"s"}],"EncryptionType":"KMS"}"#;
    for index in 0..answer.len() {
        for byte in
            [b'\n', b' ', b'"', b',', b'-', b'0', b':', b'\\', b']', b'n', b'{', b'}', 0, 0xff]
        {
            let mut answer = answer.as_bytes().to_vec();
            answer[index] = byte;
            wire.answer_with(Answer::new(200, JSON, answer.clone()));
            let sdk = read(PutRecords::new(&client).with_sdk_serialization()).await;
            let direct = read(PutRecords::new(&client)).await;
            assert_eq!(direct, sdk, "{}", String::from_utf8_lossy(&answer));
        }
    }
}

#[derive(Debug, Clone, Default)]
struct RecordSizes(Arc<Mutex<Vec<usize>>>);

impl RecordSizes {
    fn take(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Intercept for RecordSizes {
    fn name(&self) -> &'static str {
        "RecordSizes"
    }

    fn read_before_serialization(
        &self,
        context: &BeforeSerializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let input: &PutRecordsInput = context.input().downcast_ref().unwrap();
        self.0.lock().unwrap().push(input.records().len());
        Ok(())
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.lock().unwrap().push(context.request().body().bytes().unwrap().len());
        Ok(())
    }
}

#[tokio::test]
async fn interceptor_sees_records_unless_direct() {
    let wire = wire();
    let recorder = RecordSizes::default();
    let client = Client::from_conf(wire.config().interceptor(recorder.clone()).build());
    let service = PutRecords::new(&client);
    service.clone().oneshot(one_entry()).await.unwrap();
    let [sdk] = wire.take().try_into().unwrap();
    assert_eq!(recorder.take(), [1, sdk.body.len()]);
    service.with_direct_serialization().oneshot(one_entry()).await.unwrap();
    let [direct] = wire.take().try_into().unwrap();
    assert_eq!(recorder.take(), [0, sdk.body.len()]);
    assert_eq!(direct, sdk);
}

#[derive(Debug)]
struct ClearRecords;

impl Intercept for ClearRecords {
    fn name(&self) -> &'static str {
        "ClearRecords"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let input: &mut PutRecordsInput = context.input_mut().downcast_mut().unwrap();
        input.records.get_or_insert_default().clear();
        let protocol = SharedClientProtocol::new(AwsJsonRpcProtocol::aws_json_1_1());
        cfg.interceptor_state().store_put(protocol);
        Ok(())
    }
}

#[tokio::test]
async fn direct_body_ignores_interceptor_changes() {
    let wire = wire();
    let client = Client::from_conf(wire.config().build());
    PutRecords::new(&client).oneshot(one_entry()).await.unwrap();
    let client = Client::from_conf(wire.config().interceptor(ClearRecords).build());
    let service = PutRecords::new(&client).with_direct_serialization();
    service.oneshot(one_entry()).await.unwrap();
    let [plain, intercepted] = wire.take().try_into().unwrap();
    assert_eq!(intercepted, plain);
}

#[tokio::test]
async fn unknown_protocol_uses_sdk_serializer() {
    let wire = wire();
    let client =
        Client::from_conf(wire.config().protocol(AwsJsonRpcProtocol::aws_json_1_0()).build());
    let sent = assert_same_bytes(&wire, &client, &full_request()).await;
    assert_eq!(sent.header("content-type"), Some("application/x-amz-json-1.0"));
}

#[tokio::test]
async fn mislabeled_protocol_fails_without_request() {
    let wire = wire();
    let client = Client::from_conf(wire.config().protocol(impostor::Impostor).build());
    let error = PutRecords::new(&client).oneshot(one_entry()).await.unwrap_err();
    assert_eq!(error.kind(), PutRecordsErrorKind::Construction);
    let text = DisplayErrorContext(&error).to_string();
    assert!(text.contains("with_sdk_serialization"), "{text}");
    assert_eq!(wire.take(), []);
}

mod impostor {
    //! Protocol with the ID of AWS JSON 1.1 that writes XML.

    use aws_sdk_kinesis::config::ConfigBag;
    use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
    use aws_smithy_schema::protocol::ClientProtocolInner;
    use aws_smithy_schema::serde::{SerdeError, SerializableStruct, ShapeDeserializer};
    use aws_smithy_schema::{Schema, ShapeId, shape_id};
    use aws_smithy_types::body::SdkBody;
    use aws_smithy_types::endpoint::Endpoint;

    static ID: ShapeId<'static> = shape_id!("aws.protocols", "awsJson1_1");

    #[derive(Debug)]
    pub struct Impostor;

    impl ClientProtocolInner for Impostor {
        type Request = HttpRequest;
        type Response = HttpResponse;

        fn protocol_id(&self) -> &ShapeId<'static> {
            &ID
        }

        fn serialize_request(
            &self,
            _: &dyn SerializableStruct,
            _: &Schema<'_>,
            _: &str,
            _: &ConfigBag,
        ) -> Result<HttpRequest, SerdeError> {
            Ok(HttpRequest::new(SdkBody::from("<PutRecords/>")))
        }

        fn deserialize_response<'a>(
            &self,
            _: &'a HttpResponse,
            _: &Schema<'_>,
            _: &'a ConfigBag,
        ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
            Err(SerdeError::custom("no response is expected"))
        }

        fn update_endpoint(
            &self,
            _: &mut HttpRequest,
            _: &Endpoint,
            _: &ConfigBag,
        ) -> Result<(), SerdeError> {
            Ok(())
        }
    }
}
