use std::fmt;

use bytes::Bytes;
use serde::de::{EnumAccess, Error, SeqAccess, Unexpected, VariantAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{HashKey, PartitionKey, Record};

/// Maximum capacity reserved up front, because the size hint of the input cannot be trusted.
const MAX_RESERVED: usize = 64 * 1024;

#[derive(Serialize)]
#[serde(rename = "Record")]
struct RecordRef<'a> {
    data: Data<&'a Bytes>,
    partition_key: &'a PartitionKey,
    explicit_hash_key: Option<HashKey>,
}

#[derive(Deserialize)]
#[serde(rename = "Record", expecting = "a record", deny_unknown_fields)]
struct RecordFields {
    data: Data<Bytes>,
    #[serde(default)]
    partition_key: PartitionKey,
    #[serde(default)]
    explicit_hash_key: Option<HashKey>,
}

impl Serialize for Record {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let fields = RecordRef {
            data: Data(self.data()),
            partition_key: self.partition_key(),
            explicit_hash_key: self.explicit_hash_key(),
        };
        fields.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Record {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = RecordFields::deserialize(deserializer)?;
        let record = Self::new(fields.data.0).with_partition_key(fields.partition_key);
        Ok(match fields.explicit_hash_key {
            Some(hash_key) => record.with_explicit_hash_key(hash_key),
            None => record,
        })
    }
}

impl<'de> Deserialize<'de> for PartitionKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_enum("PartitionKey", KINDS, PartitionKeyVisitor)
    }
}

const KINDS: &[&str] = &["explicit", "random", "service_managed"];

/// Visitor whose errors do not contain an unexpected string, because the string is likely to be the key.
struct PartitionKeyVisitor;

impl<'de> Visitor<'de> for PartitionKeyVisitor {
    type Value = PartitionKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(r#"a partition key: {"explicit": ".."}, "random", or "service_managed""#)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<PartitionKey, A::Error> {
        let (kind, variant) = access.variant::<Kind>()?;
        match kind.0 {
            "explicit" => variant.newtype_variant().map(PartitionKey::Explicit),
            "random" => variant.unit_variant().map(|()| PartitionKey::Random),
            _ => variant.unit_variant().map(|()| PartitionKey::ServiceManaged),
        }
    }
}

/// One of [`KINDS`].
struct Kind(&'static str);

impl<'de> Deserialize<'de> for Kind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_identifier(KindVisitor)
    }
}

struct KindVisitor;

impl Visitor<'_> for KindVisitor {
    type Value = Kind;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        PartitionKeyVisitor.expecting(f)
    }

    fn visit_u64<E: Error>(self, index: u64) -> Result<Kind, E> {
        let kind = usize::try_from(index).ok().and_then(|index| KINDS.get(index));
        kind.map(|kind| Kind(kind))
            .ok_or_else(|| E::invalid_value(Unexpected::Unsigned(index), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Kind, E> {
        let kind = KINDS.iter().find(|kind| **kind == text);
        kind.map(|kind| Kind(kind))
            .ok_or_else(|| E::invalid_value(Unexpected::Other("another string"), &self))
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Kind, E> {
        self.visit_str(std::str::from_utf8(bytes).unwrap_or_default())
    }
}

struct Data<T>(T);

impl Serialize for Data<&Bytes> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&base64_simd::STANDARD.encode_to_string(self.0))
        } else {
            serializer.serialize_bytes(self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Data<Bytes> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(DataVisitor)
        } else {
            deserializer.deserialize_byte_buf(DataVisitor)
        }
    }
}

/// Accepts both base64 and bytes, because `serde(flatten)` buffers values in a human-readable form for all formats.
struct DataVisitor;

impl<'de> Visitor<'de> for DataVisitor {
    type Value = Data<Bytes>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("data in base64, or bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        match base64_simd::STANDARD.decode_to_vec(text) {
            Ok(data) => Ok(Data(data.into())),
            Err(_) => Err(E::custom("data is not base64, use the standard alphabet with padding")),
        }
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Self::Value, E> {
        Ok(Data(Bytes::copy_from_slice(bytes)))
    }

    fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Self::Value, E> {
        Ok(Data(bytes.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut bytes = Vec::with_capacity(seq.size_hint().unwrap_or(0).min(MAX_RESERVED));
        while let Some(byte) = seq.next_element()? {
            bytes.push(byte);
        }
        Ok(Data(bytes.into()))
    }
}

impl Serialize for HashKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.get().to_be_bytes())
        }
    }
}

impl<'de> Deserialize<'de> for HashKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(HashKeyVisitor)
        } else {
            deserializer.deserialize_bytes(HashKeyVisitor)
        }
    }
}

/// Accepts both strings and bytes, for the same reason as [`DataVisitor`].
struct HashKeyVisitor;

impl<'de> Visitor<'de> for HashKeyVisitor {
    type Value = HashKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a hash key as a string of decimal digits, or as 16 bytes")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<HashKey, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<HashKey, E> {
        match bytes.try_into() {
            Ok(bytes) => Ok(HashKey::new(u128::from_be_bytes(bytes))),
            Err(_) => Err(E::invalid_length(bytes.len(), &self)),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<HashKey, A::Error> {
        let mut bytes = [0_u8; 16];
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = seq.next_element()?.ok_or_else(|| A::Error::invalid_length(index, &self))?;
        }
        Ok(HashKey::new(u128::from_be_bytes(bytes)))
    }
}
