//! The protocol [`KinesisCbor`]: one file each for its codec's writer and reader, its times, and its
//! errors.

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

/// Kinesis CBOR, which the service speaks beside JSON: a protocol for the SDK's client.
///
/// Needs the feature `cbor`.
///
/// Data travels as it is instead of in base64, so that a request of large records is a quarter smaller,
/// and costs less to write. The AWS SDKs for Java use it by default; it is not in Amazon's documentation
/// of Kinesis. Credentials, signing, endpoints, retries and interceptors are the SDK's, as with JSON.
///
/// ```
/// use kinesis_sink::service::KinesisCbor;
///
/// let config = aws_sdk_kinesis::Config::builder().protocol(KinesisCbor::new());
/// # let _ = config;
/// ```
///
/// Every operation of that client then speaks CBOR, except that the service has no CBOR for the events of
/// SubscribeToShard, which AWS's SDKs for Java therefore call in JSON: that one needs another client. For
/// PutRecords alone, whatever the client speaks otherwise, there is
/// [`PutRecords::with_cbor`](crate::service::PutRecords::with_cbor).
///
/// # On the wire
///
/// A request is a `POST /` of content type `application/x-amz-cbor-1.1`, with the `X-Amz-Target` that it
/// has in JSON, and a map of the members' names for a body. Times are milliseconds since the epoch,
/// under tag 1.
///
/// Answers are read more widely than that. A body that is no CBOR map, such as one in JSON from a
/// proxy, is read as the SDK's JSON protocol would read it, and fails as it would there. Some servers
/// send times without the tag or in seconds, and binary data as a text in base64: a number that would
/// lie before March 1973 counts as seconds, and such a text is decoded. Unknown members and nulls are skipped. The code of an error may be in the
/// header `X-Amzn-Errortype` or in the body as `__type` or `code`, with or without a namespace.
#[derive(Debug)]
pub struct KinesisCbor {
    cbor: HttpRpcProtocol<KinesisCborCodec>,
    json: AwsJsonRpcProtocol,
}

impl KinesisCbor {
    pub(super) const ID: &'static str = ID.as_str();

    /// The protocol. It has no settings.
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

/// The body, if it begins as a CBOR map does. No text begins with such a byte.
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
        // The route is the protocol's own, whatever the client was generated for.
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
