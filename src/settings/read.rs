//! Serialized form of settings. Deserializers accept strings for all settings, because environment variables are
//! strings.
//!
//! Error messages contain the path of the setting, because not every format reports the position of an error.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use bytesize::ByteSize;
use humantime_serde::re::humantime;
use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserializer, Serialize, Serializer};

/// Value of an optional setting that is not set. TOML has no null, and a missing key means the default.
const NONE: &str = "none";

/// Type of a setting's value, and the formats in which the value can be written.
pub(crate) trait Notation {
    type Value;
    const EXPECTED: &'static str;

    fn from_text(text: &str) -> Option<Self::Value>;

    fn from_number(_: u64) -> Result<Option<Self::Value>, WrongType> {
        Err(WrongType)
    }

    fn from_bool(_: bool) -> Result<Self::Value, WrongType> {
        Err(WrongType)
    }
}

pub(crate) struct WrongType;

pub(crate) struct Count<T>(PhantomData<T>);
pub(crate) struct Size<T>(PhantomData<T>);
pub(crate) struct Time;
pub(crate) struct Switch;

impl<T: TryFrom<u64>> Notation for Count<T> {
    type Value = T;
    const EXPECTED: &'static str = "a number such as 8 or \"8\"";

    fn from_text(text: &str) -> Option<T> {
        text.replace('_', "").parse::<u64>().ok()?.try_into().ok()
    }

    fn from_number(number: u64) -> Result<Option<T>, WrongType> {
        Ok(number.try_into().ok())
    }
}

impl<T: TryFrom<u64>> Notation for Size<T> {
    type Value = T;
    const EXPECTED: &'static str = "a size such as \"32MiB\", or a number of bytes";

    fn from_text(text: &str) -> Option<T> {
        text.replace('_', "").parse::<ByteSize>().ok()?.as_u64().try_into().ok()
    }

    fn from_number(number: u64) -> Result<Option<T>, WrongType> {
        Ok(number.try_into().ok())
    }
}

impl Notation for Time {
    type Value = Duration;
    const EXPECTED: &'static str = "a duration such as \"100ms\" or \"1h 30m\"";

    fn from_text(text: &str) -> Option<Duration> {
        humantime::parse_duration(text).ok()
    }
}

impl Notation for Switch {
    type Value = bool;
    const EXPECTED: &'static str = "true or false";

    fn from_text(text: &str) -> Option<bool> {
        text.parse().ok()
    }

    fn from_bool(value: bool) -> Result<bool, WrongType> {
        Ok(value)
    }
}

/// Notation of an optional setting.
pub(crate) struct OrNone<N>(PhantomData<N>);

impl<N: Notation> Notation for OrNone<N> {
    type Value = Option<N::Value>;
    const EXPECTED: &'static str = N::EXPECTED;

    fn from_text(text: &str) -> Option<Self::Value> {
        if text == NONE { Some(None) } else { N::from_text(text).map(Some) }
    }

    fn from_number(number: u64) -> Result<Option<Self::Value>, WrongType> {
        Ok(N::from_number(number)?.map(Some))
    }
}

struct Reader<N> {
    setting: &'static str,
    notation: PhantomData<N>,
}

impl<N> Reader<N> {
    fn new(setting: &'static str) -> Self {
        Self { setting, notation: PhantomData }
    }
}

impl<N: Notation> Visitor<'_> for Reader<N> {
    type Value = N::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {}", N::EXPECTED, self.setting)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<N::Value, E> {
        N::from_text(text.trim()).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<N::Value, E> {
        let unexpected = Unexpected::Unsigned(number);
        match N::from_number(number) {
            Ok(value) => value.ok_or_else(|| E::invalid_value(unexpected, &self)),
            Err(WrongType) => Err(E::invalid_type(unexpected, &self)),
        }
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<N::Value, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<N::Value, E> {
        N::from_bool(value).map_err(|_| E::invalid_type(Unexpected::Bool(value), &self))
    }
}

struct Optional<N>(Reader<OrNone<N>>);

impl<'de, N: Notation> Visitor<'de> for Optional<N> {
    type Value = Option<N::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self.0)
    }

    // A map of strings deserializes an option as the string itself, without a `Some`.
    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        self.0.visit_str(text)
    }
}

/// Defines a `deserialize_with` function for each field.
macro_rules! readers {
    ($($(#[$attribute:meta])* $field:ident: $notation:ty, $path:literal;)*) => {
        $($(#[$attribute])* pub(crate) fn $field<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<<$notation as Notation>::Value, D::Error> {
            deserializer.deserialize_any(Reader::<$notation>::new($path))
        })*
    };
}

macro_rules! optional_readers {
    ($($field:ident: $notation:ty, $path:literal;)*) => {
        $(pub(crate) fn $field<'de, D: Deserializer<'de>>(
            deserializer: D,
        ) -> Result<Option<<$notation as Notation>::Value>, D::Error> {
            deserializer.deserialize_option(Optional::<$notation>(Reader::new($path)))
        })*
    };
}

readers! {
    request_entries: Count<usize>, "limits.request_entries";
    request_bytes: Size<usize>, "limits.request_bytes";
    shard_records: Count<usize>, "limits.shard_records";
    shard_bytes: Size<u64>, "limits.shard_bytes";
    max_in_flight: Count<usize>, "max_in_flight";
    budget_records: Count<usize>, "budget.buffer_records";
    budget_bytes: Size<usize>, "budget.buffer_bytes";
    budget_in_flight: Count<usize>, "budget.max_in_flight";
    aggregate_bytes: Size<usize>, "aggregate_bytes";
    aggregate_records: Count<usize>, "aggregate_records";
    describe_stream: Switch, "describe_stream";
    buffer_bytes: Size<usize>, "buffer_bytes";
    backoff_base: Time, "backoff.base";
    backoff_ceiling: Time, "backoff.ceiling";
    credentials_timeout: Time, "credentials_timeout";
    request_timeout: Time, "request_timeout";
    max_request_timeout: Time, "max_request_timeout";
    idle_timeout: Time, "idle_timeout";
    max_streams: Count<usize>, "max_streams";
    #[cfg(feature = "spool")]
    spool_max_bytes: Size<u64>, "spool.max_bytes";
    #[cfg(feature = "spool")]
    spool_segment_bytes: Size<u64>, "spool.segment_bytes";
    #[cfg(feature = "spool")]
    spool_strict: Switch, "spool.strict";
    #[cfg(feature = "metrics")]
    metric_streams: Count<usize>, "metric_streams";
}

optional_readers! {
    record_bytes: Size<usize>, "limits.record_bytes";
    buffer_records: Count<usize>, "buffer_records";
    max_attempts: Count<u32>, "max_attempts";
    deadline: Time, "deadline";
    seed: Count<u64>, "seed";
}

/// Serializes an optional number.
pub(crate) fn number_or_none<S: Serializer>(
    value: &Option<impl Serialize>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => value.serialize(serializer),
        None => serializer.serialize_str(NONE),
    }
}

/// Serializes an optional duration.
pub(crate) fn time_or_none<S: Serializer>(
    value: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => humantime_serde::serialize(value, serializer),
        None => serializer.serialize_str(NONE),
    }
}
