use std::borrow::Cow;

use aws_smithy_cbor::Decoder;
use aws_smithy_cbor::data::Type;
use aws_smithy_runtime_api::http::Headers;
use aws_smithy_schema::error_envelope::sanitize_error_code;
use aws_smithy_schema::serde::SerdeError;
use aws_smithy_types::error::metadata::{Builder, ErrorMetadata};

use super::reader::invalid;

#[derive(Default)]
struct Envelope<'a> {
    code: Option<Cow<'a, str>>,
    kind: Option<Cow<'a, str>>,
    message: Option<Cow<'a, str>>,
}

/// Reads the error code and message, from the same members and with the same precedence as the SDK's JSON protocol.
pub(super) fn error_metadata(body: &[u8], headers: &Headers) -> Result<Builder, SerdeError> {
    let envelope = read(body)?;
    let in_body = envelope.code.or(envelope.kind);
    let mut metadata = ErrorMetadata::builder();
    if let Some(code) = headers.get("x-amzn-errortype").or(in_body.as_deref()) {
        metadata = metadata.code(sanitize_error_code(code));
    }
    if let Some(message) = envelope.message {
        metadata = metadata.message(message);
    }
    Ok(metadata)
}

fn read(body: &[u8]) -> Result<Envelope<'_>, SerdeError> {
    let mut decoder = Decoder::new(body);
    let mut envelope = Envelope::default();
    let length = decoder.map().map_err(invalid)?;
    let mut read = 0;
    while length.is_none_or(|length| read < length) {
        if decoder.datatype().map_err(invalid)? == Type::Break {
            break;
        }
        let name = decoder.str().map_err(invalid)?;
        let value = text(&mut decoder)?;
        let member = match &*name {
            "code" => &mut envelope.code,
            "__type" => &mut envelope.kind,
            "message" | "Message" | "errorMessage" => &mut envelope.message,
            _ => &mut None,
        };
        if value.is_some() {
            *member = value;
        }
        read += 1;
    }
    Ok(envelope)
}

/// Reads the next value if it is a text string. Skips any other value.
fn text<'a>(decoder: &mut Decoder<'a>) -> Result<Option<Cow<'a, str>>, SerdeError> {
    if let Type::String | Type::StringIndef = decoder.datatype().map_err(invalid)? {
        return decoder.str().map(Some).map_err(invalid);
    }
    decoder.skip().map_err(invalid)?;
    Ok(None)
}
