mod codec;
mod envelope;
mod reader;
mod timestamp;
mod writer;

use aws_sdk_kinesis::config::ConfigBag;
use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_smithy_json::protocol::aws_json_rpc::AwsJsonRpcProtocol;
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_schema::codec::DynCodec;
use aws_smithy_schema::http_protocol::HttpRpcProtocol;
use aws_smithy_schema::protocol::{ClientProtocolInner, ServiceShapeName};
use aws_smithy_schema::serde::{SerdeError, SerializableStruct, ShapeDeserializer};
use aws_smithy_schema::{Schema, ShapeId, shape_id};
use aws_smithy_types::endpoint::Endpoint;
use aws_smithy_types::error::metadata::Builder as ErrorMetadataBuilder;

use codec::KinesisCborCodec;

/// Client protocol of the AWS SDK for Kinesis CBOR, an alternative to JSON.
///
/// Data is sent as bytes instead of base64, so a request with large records is a quarter smaller and faster to
/// serialize. The AWS SDKs for Java use the protocol by default, but AWS does not document it for Kinesis. As with
/// JSON, the SDK handles credentials, signatures, endpoints, retries and interceptors.
///
/// Requires the feature `cbor`.
///
/// ```
/// use kinesis_sink::service::KinesisCbor;
///
/// let config = aws_sdk_kinesis::Config::builder().protocol(KinesisCbor::new());
/// # let _ = config;
/// ```
///
/// All operations of this client use CBOR. SubscribeToShard requires another client, because the service does not
/// support CBOR for its events. The AWS SDKs for Java also use JSON for it. To use CBOR only for PutRecords, see
/// [`PutRecords::with_cbor`](crate::service::PutRecords::with_cbor).
///
/// # Wire format
///
/// A request is a `POST /` with the content type `application/x-amz-cbor-1.1` and the same `X-Amz-Target` as in JSON.
/// The body is a map from member names to values. Times are milliseconds since the Unix epoch, with tag 1.
///
/// Some servers deviate from this format. Their responses are accepted as follows:
///
/// - A body that is not a CBOR map, such as JSON from a proxy, is parsed with the JSON protocol of the SDK.
/// - Times can have no tag, or be in seconds. A number counts as seconds if, as milliseconds, it would be a time before
///   March 1973.
/// - Binary data can be a base64 string.
/// - Unknown members and nulls are skipped.
/// - The code of an error can be in the header `X-Amzn-Errortype`, or in the body as `__type` or `code`, with or
///   without a namespace.
#[derive(Debug)]
pub struct KinesisCbor {
    cbor: HttpRpcProtocol<KinesisCborCodec>,
    json: AwsJsonRpcProtocol,
}

impl KinesisCbor {
    pub(super) const ID: &'static str = ID.as_str();

    /// Creates a new `KinesisCbor`.
    #[must_use]
    pub fn new() -> Self {
        let cbor = HttpRpcProtocol::new(ID, KinesisCborCodec, "application/x-amz-cbor-1.1");
        Self { cbor, json: AwsJsonRpcProtocol::aws_json_1_1() }
    }
}

const ID: ShapeId<'static> = shape_id!("kinesis_sink", "KinesisCbor");

impl Default for KinesisCbor {
    fn default() -> Self {
        Self::new()
    }
}

/// Returns the body if it is a CBOR map. The first byte of a CBOR map cannot be the first byte of JSON.
fn cbor_map(response: &HttpResponse) -> Option<&[u8]> {
    let body = response.body().bytes()?;
    matches!(body.first(), Some(0xa0..=0xbf)).then_some(body)
}

impl ClientProtocolInner for KinesisCbor {
    type Request = HttpRequest;
    type Response = HttpResponse;

    fn protocol_id(&self) -> &ShapeId<'static> {
        self.cbor.protocol_id()
    }

    fn serialize_request(
        &self,
        input: &dyn SerializableStruct,
        input_schema: &Schema<'_>,
        _: &str,
        cfg: &ConfigBag,
    ) -> Result<HttpRequest, SerdeError> {
        // The path of this protocol is always `/`.
        let mut request = self.cbor.serialize_request(input, input_schema, "/", cfg)?;
        if let (Some(service), Some(operation)) =
            (cfg.load::<ServiceShapeName>(), cfg.load::<Metadata>())
        {
            let target = format!("{}.{}", service.as_str(), operation.name());
            request.headers_mut().insert("X-Amz-Target", target);
        }
        Ok(request)
    }

    fn deserialize_response<'a>(
        &self,
        response: &'a HttpResponse,
        output_schema: &Schema<'_>,
        cfg: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
        match cbor_map(response) {
            Some(_) => self.cbor.deserialize_response(response, output_schema, cfg),
            None => self.json.deserialize_response(response, output_schema, cfg),
        }
    }

    fn parse_error_metadata(
        &self,
        response: &HttpResponse,
        cfg: &ConfigBag,
    ) -> Result<ErrorMetadataBuilder, SerdeError> {
        match cbor_map(response) {
            Some(body) => envelope::error_metadata(body, response.headers()),
            None => self.json.parse_error_metadata(response, cfg),
        }
    }

    fn update_endpoint(
        &self,
        request: &mut HttpRequest,
        endpoint: &Endpoint,
        cfg: &ConfigBag,
    ) -> Result<(), SerdeError> {
        self.cbor.update_endpoint(request, endpoint, cfg)
    }

    fn payload_codec(&self) -> Option<&dyn DynCodec> {
        self.cbor.payload_codec()
    }

    fn parse_event_stream_error_metadata(
        &self,
        payload: &[u8],
    ) -> Result<ErrorMetadataBuilder, SerdeError> {
        envelope::error_metadata(payload, &Headers::new())
    }
}
