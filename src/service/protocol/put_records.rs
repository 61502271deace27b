use aws_sdk_kinesis::config::http::{HttpRequest, HttpResponse};
use aws_sdk_kinesis::config::interceptors::BeforeSerializationInterceptorContextMut;
use aws_sdk_kinesis::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_kinesis::operation::put_records::PutRecordsInput;
use aws_smithy_schema::codec::DynCodec;
use aws_smithy_schema::protocol::{ClientProtocolInner, SharedClientProtocol};
use aws_smithy_schema::serde::{SerdeError, SerializableStruct, ShapeDeserializer};
use aws_smithy_schema::{Schema, ShapeId};
use aws_smithy_types::body::SdkBody;
use aws_smithy_types::endpoint::Endpoint;
use aws_smithy_types::error::metadata::Builder as ErrorMetadataBuilder;
use tower::BoxError;

use super::{Body, ResponseSlot};
use crate::service::PutRecordsRequest;
use crate::service::put_records::sdk_entries;

/// Interceptor that adds the entries of a request to a call whose input has no records.
///
/// It uses the last hook before serialization, because plugins and other layers can set the protocol in earlier hooks.
#[derive(Debug)]
pub(in crate::service) struct Entries {
    request: PutRecordsRequest,
    slot: ResponseSlot,
}

impl Entries {
    pub(in crate::service) fn new(request: PutRecordsRequest, slot: ResponseSlot) -> Self {
        Self { request, slot }
    }
}

impl Intercept for Entries {
    fn name(&self) -> &'static str {
        "kinesis_sink::Entries"
    }

    fn modify_before_serialization(
        &self,
        context: &mut BeforeSerializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let input = context.input_mut().downcast_mut::<PutRecordsInput>();
        let input = input.ok_or("call is not PutRecords")?;
        let known = cfg.load::<SharedClientProtocol>().and_then(|protocol| {
            Body::of(protocol.protocol_id()).map(|body| (protocol.clone(), body))
        });
        if let Some((inner, body)) = known {
            let request = self.request.clone();
            let protocol = PutRecordsProtocol { inner, body, request, slot: self.slot.clone() };
            cfg.interceptor_state().store_put(SharedClientProtocol::new(protocol));
            // Records set by another interceptor would result in a duplicate member.
            input.records = None;
        } else {
            input.records = Some(sdk_entries(&self.request));
        }
        Ok(())
    }
}

/// Client protocol for one request. It writes the body and parses the results, and otherwise calls the inner protocol.
#[derive(Debug)]
struct PutRecordsProtocol {
    inner: SharedClientProtocol,
    body: Body,
    request: PutRecordsRequest,
    slot: ResponseSlot,
}

impl ClientProtocolInner for PutRecordsProtocol {
    type Request = HttpRequest;
    type Response = HttpResponse;

    fn protocol_id(&self) -> &ShapeId<'static> {
        self.inner.protocol_id()
    }

    fn serialize_request(
        &self,
        input: &dyn SerializableStruct,
        input_schema: &Schema<'_>,
        endpoint: &str,
        cfg: &ConfigBag,
    ) -> Result<HttpRequest, SerdeError> {
        let mut request = self.inner.serialize_request(input, input_schema, endpoint, cfg)?;
        let members = request.body().bytes();
        let body =
            members.and_then(|members| self.body.with_entries(self.request.entries(), members));
        let Some(body) = body else {
            let id = self.protocol_id().as_str();
            return Err(SerdeError::custom(format!(
                "protocol of the client has the id {id} but another format; \
                 use PutRecords::with_sdk_serialization"
            )));
        };
        // The header is absent if the protocol is configured not to set it.
        if request.headers().get(CONTENT_LENGTH).is_some() {
            request.headers_mut().insert(CONTENT_LENGTH, body.len().to_string());
        }
        *request.body_mut() = SdkBody::from(body);
        Ok(request)
    }

    fn deserialize_response<'a>(
        &self,
        response: &'a HttpResponse,
        output_schema: &Schema<'_>,
        cfg: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
        let entries = self.request.entries().len();
        let bytes = response.body().bytes().unwrap_or_default();
        match self.inner.payload_codec() {
            Some(codec) if self.slot.read(self.body, bytes, entries) => {
                Ok(codec.create_deserializer(self.body.empty()))
            }
            _ => self.inner.deserialize_response(response, output_schema, cfg),
        }
    }

    fn parse_error_metadata(
        &self,
        response: &HttpResponse,
        cfg: &ConfigBag,
    ) -> Result<ErrorMetadataBuilder, SerdeError> {
        self.inner.parse_error_metadata(response, cfg)
    }

    fn deserialize_error_response<'a>(
        &self,
        response: &'a HttpResponse,
        cfg: &'a ConfigBag,
    ) -> Result<Box<dyn ShapeDeserializer + 'a>, SerdeError> {
        self.inner.deserialize_error_response(response, cfg)
    }

    fn update_endpoint(
        &self,
        request: &mut HttpRequest,
        endpoint: &Endpoint,
        cfg: &ConfigBag,
    ) -> Result<(), SerdeError> {
        self.inner.update_endpoint(request, endpoint, cfg)
    }

    fn payload_codec(&self) -> Option<&dyn DynCodec> {
        self.inner.payload_codec()
    }
}

const CONTENT_LENGTH: &str = "Content-Length";
