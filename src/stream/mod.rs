//! Stream identifiers, stream descriptions, and sources of stream information.

mod description;
mod info;
#[cfg(feature = "serde")]
mod text;

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

pub use description::{Distribution, StreamDescription, StreamMode};
pub use info::{DescribeStreamFn, ListShardsFn, StreamInfo, describe_stream_fn, list_shards_fn};

use crate::build_error::BuildError;
use crate::parse_error::ParseError;

/// Name or ARN of a stream.
///
/// The format is validated when a string is parsed. Cloning a `StreamId` does not copy the string.
///
/// ```
/// use kinesis_sink::StreamId;
///
/// let by_name: StreamId = "clicks".parse()?;
/// let by_arn: StreamId = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks".parse()?;
/// assert_eq!(by_name.name(), by_arn.name());
/// assert_eq!(by_arn.region(), Some("eu-west-1"));
/// # Ok::<_, kinesis_sink::error::ParseError>(())
/// ```
#[derive(Clone)]
pub struct StreamId(Arc<Parsed>); // Only one pointer, because each undelivered record contains a `StreamId`.

struct Parsed {
    text: Box<str>,
    is_arn: bool,
}

const PREFIX: &str = "arn:";
const RESOURCE: &str = "stream/";
const MAX_NAME_CHARS: usize = 128;

impl StreamId {
    /// Returns the name of the stream. For an ARN, this is the name in the ARN.
    #[must_use]
    pub fn name(&self) -> &str {
        let text = self.as_ref();
        if self.0.is_arn { text.rsplit_once('/').map_or("", |(_, name)| name) } else { text }
    }

    /// Returns the ARN, or `None` if this is a name.
    #[must_use]
    pub fn arn(&self) -> Option<&str> {
        self.0.is_arn.then_some(&*self.0.text)
    }

    /// Returns the region of the ARN, or `None` if this is a name.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.arn().and_then(|arn| arn.split(':').nth(3))
    }

    /// Returns an error if the client's region differs from the region in the ARN, because the SDK sends requests to
    /// the client's region.
    pub(crate) fn check_region(&self, client: Option<&str>) -> Result<(), BuildError> {
        match (self.region(), client) {
            (Some(arn), Some(client)) if arn != client => {
                Err(BuildError::Region { stream: self.clone(), client_region: client.to_owned() })
            }
            _ => Ok(()),
        }
    }
}

impl FromStr for StreamId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let is_arn = text.starts_with(PREFIX);
        if is_arn {
            check_arn(text)?
        } else {
            check_name(text)?
        }
        Ok(Self(Arc::new(Parsed { text: text.into(), is_arn })))
    }
}

fn check_name(name: &str) -> Result<(), ParseError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if name.is_empty() || name.len() > MAX_NAME_CHARS || !name.bytes().all(allowed) {
        return Err(ParseError::stream_name(name));
    }
    Ok(())
}

fn check_arn(arn: &str) -> Result<(), ParseError> {
    let invalid = |field, expected| Err(ParseError::stream_arn(arn, field, expected));
    let fields: Vec<_> = arn.splitn(6, ':').collect();
    let [_, partition, service, region, account, resource] = fields[..] else {
        return invalid(
            "number of fields",
            "arn:<partition>:kinesis:<region>:<account>:stream/<name>",
        );
    };
    let word = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    if !partition.starts_with("aws") || !word(partition) {
        return invalid("partition", "`aws`, `aws-cn`, or another AWS partition");
    }
    if service != "kinesis" {
        return invalid("service", "`kinesis`");
    }
    if region.is_empty() || !word(region) {
        return invalid("region", "a region such as `eu-west-1`");
    }
    if account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()) {
        return invalid("account", "12 digits");
    }
    match resource.strip_prefix(RESOURCE) {
        Some(name) if check_name(name).is_ok() => Ok(()),
        _ => invalid("resource", "`stream/` and a stream name"),
    }
}

impl TryFrom<&str> for StreamId {
    type Error = ParseError;

    fn try_from(text: &str) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl TryFrom<String> for StreamId {
    type Error = ParseError;

    fn try_from(text: String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl TryFrom<&String> for StreamId {
    type Error = ParseError;

    fn try_from(text: &String) -> Result<Self, ParseError> {
        text.parse()
    }
}

impl From<&StreamId> for StreamId {
    fn from(stream: &StreamId) -> Self {
        stream.clone()
    }
}

impl AsRef<str> for StreamId {
    fn as_ref(&self) -> &str {
        &self.0.text
    }
}

// The text determines `is_arn`, so a `StreamId` can compare and hash as its text. Maps can then be searched with a `&str`.
impl Borrow<str> for StreamId {
    fn borrow(&self) -> &str {
        self.as_ref()
    }
}

impl PartialEq for StreamId {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.as_ref() == other.as_ref()
    }
}

impl Eq for StreamId {}

impl Hash for StreamId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

impl PartialOrd for StreamId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for StreamId {
    /// Compares the names or ARNs as strings.
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_ref().cmp(other.as_ref())
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_ref())
    }
}

impl fmt::Debug for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StreamId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARN: &str = "arn:aws:kinesis:eu-west-1:123456789012:stream/clicks";

    #[test]
    fn stream_id_parses_names_and_arns() {
        let name: StreamId = "clicks".parse().unwrap();
        assert_eq!((name.name(), name.arn(), name.region()), ("clicks", None, None));
        let arn: StreamId = ARN.parse().unwrap();
        assert_eq!((arn.name(), arn.arn(), arn.region()), ("clicks", Some(ARN), Some("eu-west-1")));
        for partition in ["aws-cn", "aws-us-gov", "aws-iso-b"] {
            let arn = ARN.replace(":aws:", &format!(":{partition}:"));
            assert!(arn.parse::<StreamId>().is_ok(), "{arn}");
        }
    }

    #[test]
    fn invalid_stream_id_error_names_reason() {
        for name in ["", "a b", "ä", "a/b", "a:b", &"x".repeat(129)] {
            let error = name.parse::<StreamId>().unwrap_err().to_string();
            assert!(error.contains("is not a stream name: use 1 to 128"), "{error}");
        }
        assert!("x".repeat(128).parse::<StreamId>().is_ok());
        for (arn, field) in [
            ("arn:aws:kinesis:eu-west-1:123456789012", "number of fields"),
            ("arn:gcp:kinesis:eu-west-1:123456789012:stream/clicks", "partition"),
            ("arn:aws:firehose:eu-west-1:123456789012:stream/clicks", "service"),
            ("arn:aws:kinesis::123456789012:stream/clicks", "region"),
            ("arn:aws:kinesis:eu-west-1:12345:stream/clicks", "account"),
            ("arn:aws:kinesis:eu-west-1:123456789012:clicks", "resource"),
            ("arn:aws:kinesis:eu-west-1:123456789012:stream/a/consumer/b:1", "resource"),
        ] {
            let error = arn.parse::<StreamId>().unwrap_err().to_string();
            assert!(error.contains(&format!("ARN: its {field} should be")), "{error}");
        }
        let long = "arn:".repeat(10_000).parse::<StreamId>().unwrap_err().to_string();
        assert!(long.len() < 500, "the error has {} bytes", long.len());
    }

    #[test]
    fn parse_error_is_one_printable_line() {
        for begin in ["", "arn:", "arn:aws:kinesis:"] {
            let given = format!("{begin}a\0\n\r\u{1b}[31m\u{202e}\u{85}b");
            let error = given.parse::<StreamId>().unwrap_err().to_string();
            assert!(error.contains(r"a\0\n\r\u{1b}[31m\u{202e}\u{85}b"), "{error}");
        }
        let error = "\u{10ffff}".repeat(1_000).parse::<StreamId>().unwrap_err().to_string();
        assert!(error.len() < 2_500, "the error has {} bytes", error.len());
    }

    #[test]
    fn map_of_stream_ids_is_searched_with_text() {
        use std::collections::{BTreeMap, HashMap};
        let ids = [ARN, "clicks", "orders"].map(|text| text.parse::<StreamId>().unwrap());
        let hashed: HashMap<_, _> = ids.iter().cloned().zip(0..).collect();
        let sorted: BTreeMap<_, _> = ids.iter().cloned().zip(0..).collect();
        for (text, number) in [(ARN, Some(&0)), ("clicks", Some(&1)), ("click", None)] {
            assert_eq!((hashed.get(text), sorted.get(text)), (number, number), "{text}");
        }
        assert_eq!(ids[1], "clicks".parse().unwrap());
        assert_ne!(ids[0], ids[1], "a name and an ARN differ");
    }

    #[test]
    fn region_mismatch_error_names_both_regions() {
        let arn: StreamId = ARN.parse().unwrap();
        assert_eq!(arn.check_region(Some("eu-west-1")), Ok(()));
        assert_eq!(arn.check_region(None), Ok(()));
        let error = arn.check_region(Some("us-east-1")).unwrap_err().to_string();
        assert!(error.contains("eu-west-1") && error.contains("us-east-1"), "{error}");
        let name: StreamId = "clicks".parse().unwrap();
        assert_eq!(name.check_region(Some("us-east-1")), Ok(()));
    }
}
