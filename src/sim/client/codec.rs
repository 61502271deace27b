use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ciborium::tag::Required;
use serde::de::{DeserializeOwned, Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::BUILT_AT;
use crate::service::PutRecordsError;

const JSON: &str = "application/x-amz-json-1.1";
const CBOR: &str = "application/x-amz-cbor-1.1";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Json,
    Cbor,
}

impl Format {
    pub(super) fn of(content_type: &str) -> Option<Self> {
        match content_type {
            JSON => Some(Self::Json),
            CBOR => Some(Self::Cbor),
            _ => None,
        }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::Json => JSON,
            Self::Cbor => CBOR,
        }
    }

    pub(super) fn read<T: DeserializeOwned>(self, body: &[u8]) -> Result<T, PutRecordsError> {
        let read = match self {
            Self::Json => serde_json::from_slice(body).ok(),
            Self::Cbor => ciborium::from_reader(body).ok(),
        };
        // The parser's error is dropped, because it can contain a payload.
        let message = Some("The body of the request cannot be parsed");
        read.ok_or_else(|| {
            PutRecordsError::service(Some("SerializationException"), message, Some(400))
        })
    }

    pub(super) fn write<T: Serialize>(self, response: &T) -> Vec<u8> {
        let mut body = Vec::new();
        match self {
            Self::Json => serde_json::to_writer(&mut body, response).expect("responses are JSON"),
            Self::Cbor => ciborium::into_writer(response, &mut body).expect("responses are CBOR"),
        }
        body
    }
}

/// Binary data: base64 in JSON, a byte string in CBOR.
#[derive(Clone)]
pub(super) struct Blob(pub(super) Bytes);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&STANDARD.encode(&self.0))
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Base64)
        } else {
            deserializer.deserialize_byte_buf(ByteString)
        }
    }
}

struct Base64;

impl Visitor<'_> for Base64 {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text in base64")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Blob, E> {
        let decoded = STANDARD.decode(text);
        decoded.map(|data| Blob(data.into())).map_err(|_| E::custom("not base64"))
    }
}

struct ByteString;

impl Visitor<'_> for ByteString {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a byte string")
    }

    fn visit_bytes<E: Error>(self, data: &[u8]) -> Result<Blob, E> {
        Ok(Blob(Bytes::copy_from_slice(data)))
    }

    fn visit_byte_buf<E: Error>(self, data: Vec<u8>) -> Result<Blob, E> {
        Ok(Blob(data.into()))
    }
}

/// Time since the stream was built. It is serialized as Unix time: seconds in JSON, tagged milliseconds in CBOR.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timestamp(pub(super) Duration);

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let since_epoch = BUILT_AT + self.0;
        if serializer.is_human_readable() {
            serializer.serialize_f64(since_epoch.as_millis() as f64 / 1_000.0)
        } else {
            Required::<_, 1>(since_epoch.as_millis() as u64).serialize(serializer)
        }
    }
}
