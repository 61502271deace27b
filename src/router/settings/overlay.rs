//! Serialized form of router settings, in which the table of a stream overlays the table `defaults`.
//!
//! The input is buffered, because `defaults` can follow `streams`. The buffer therefore adds the path of a setting to
//! an error, which the format cannot locate any more.

use std::fmt;

use serde::de::value::StringDeserializer;
use serde::de::{
    DeserializeSeed, Error as _, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer, forward_to_deserialize_any};

use super::{RouterSettings, quoted};

const DEFAULTS: &str = "defaults";
const STREAMS: &str = "streams";

/// Tables in `Settings` that are overlaid key by key. Any other value of a stream replaces the default as a whole, for
/// example a linger with its mode.
const NESTED: [&str; 3] = ["limits", "backoff", "spool"];

impl<'de> Deserialize<'de> for RouterSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut value = Value::deserialize(deserializer)?;
        if let Value::Table(root) = &mut value {
            root.overlay_streams();
        }
        // This is the function that `derive` generates.
        Self::deserialize(value).map_err(D::Error::custom)
    }
}

impl Serialize for RouterSettings {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Self::serialize(self, serializer)
    }
}

/// Buffered value of a configuration file.
#[derive(Clone)]
enum Value {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    Null,
    /// A list, which is never a valid value.
    List,
    Table(Table),
}

/// Table in the order of the file.
#[derive(Clone)]
struct Table(Vec<(String, Value)>);

impl Table {
    fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        self.0.iter_mut().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    fn overlay_streams(&mut self) {
        // The defaults must be read before the streams, so that an error in them names their path.
        self.0.sort_by_key(|(key, _)| key == STREAMS);
        let Some(Value::Table(defaults)) = self.get_mut(DEFAULTS).cloned() else { return };
        let Some(Value::Table(streams)) = self.get_mut(STREAMS) else { return };
        for (_, stream) in &mut streams.0 {
            if let Value::Table(stream) = stream {
                stream.overlay(&defaults);
            }
        }
    }

    /// Adds each default whose key is missing.
    fn overlay(&mut self, defaults: &Self) {
        for (key, default) in &defaults.0 {
            match (self.get_mut(key), default) {
                (None, _) => self.0.push((key.clone(), default.clone())),
                (Some(Value::Table(own)), Value::Table(default))
                    if NESTED.contains(&key.as_str()) =>
                {
                    own.overlay(default);
                }
                (Some(_), _) => {}
            }
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a setting or a table of settings")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(Value::Signed(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(number))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Value::Float(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::Text(text.to_owned()))
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        while list.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Value::List)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Value::Table(Table(entries)))
    }
}

impl<'de> Deserializer<'de> for Value {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Bool(value) => visitor.visit_bool(value),
            Self::Signed(number) => visitor.visit_i64(number),
            Self::Unsigned(number) => visitor.visit_u64(number),
            Self::Float(number) => visitor.visit_f64(number),
            Self::Text(text) => visitor.visit_string(text),
            Self::Null => visitor.visit_unit(),
            Self::List => Err(Error::invalid_type(Unexpected::Seq, &visitor)),
            Self::Table(Table(entries)) => {
                visitor.visit_map(Entries { entries: entries.into_iter(), value: None })
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self {
            Self::Null => visitor.visit_none(),
            value => visitor.visit_some(value),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let text: StringDeserializer<Error> = String::deserialize(self)?.into_deserializer();
        text.deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

/// Entries of a table that is being deserialized.
struct Entries {
    entries: std::vec::IntoIter<(String, Value)>,
    /// Entry whose key has been deserialized.
    value: Option<(String, Value)>,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        let Some((key, value)) = self.entries.next() else { return Ok(None) };
        self.value = Some((key.clone(), value));
        seed.deserialize(key.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, value) = self.value.take().expect("a key precedes its value");
        seed.deserialize(value).map_err(|error| error.in_table(key))
    }
}

/// Error with the path at which it occurred.
#[derive(Debug)]
struct Error {
    /// Keys, the innermost first.
    path: Vec<String>,
    message: String,
}

impl Error {
    fn in_table(mut self, key: String) -> Self {
        self.path.push(key);
        self
    }
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: Vec::new(), message: message.to_string() }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path: Vec<_> = self.path.iter().rev().map(|key| quoted(key)).collect();
        let full = path.join(".");
        // The deserializers of settings name the setting by its path in its own table.
        let tail = (0..path.len()).map(|begin| path[begin..].join("."));
        let named =
            tail.filter_map(|tail| self.message.strip_suffix(&format!(" for {tail}"))).next();
        match named {
            Some(message) => write!(f, "{message} for {full}"),
            None if path.is_empty() => f.write_str(&self.message),
            None => write!(f, "{full}: {}", self.message),
        }
    }
}
