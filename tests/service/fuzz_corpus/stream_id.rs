//! Properties that must hold when any text is parsed as a stream name or ARN.

use kinesis_sink::StreamId;

/// An error message shows up to 200 characters of the text, and escaping can turn each of them into 10.
const MAX_ERROR_BYTES: usize = 200 * 10 + 300;

pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let read: Result<StreamId, _> = text.parse();
    assert_eq!(read.is_ok(), is_name(text) || is_arn(text), "{text:?}");
    match read {
        Ok(id) => check_id(&id, text),
        Err(error) => {
            for message in [error.to_string(), format!("{error:?}")] {
                assert!(message.len() <= MAX_ERROR_BYTES, "{} bytes", message.len());
                assert!(!message.chars().any(char::is_control), "{message:?}");
            }
        }
    }
}

fn check_id(id: &StreamId, text: &str) {
    assert_eq!(id.to_string(), text);
    assert_eq!(id.as_ref(), text);
    assert_eq!(id.to_string().parse().as_ref(), Ok(id));
    let by_name: StreamId = id.name().parse().expect("the name of a stream is valid");
    assert_eq!((by_name.name(), by_name.arn(), by_name.region()), (id.name(), None, None));
    let Some(arn) = id.arn() else { return assert_eq!(by_name, *id) };
    let region = id.region().expect("no region");
    let name = id.name();
    let begin = arn.strip_suffix(&format!(":stream/{name}")).expect("no name at the end");
    let (begin, account) = begin.rsplit_once(':').expect("no account");
    let partition =
        begin.strip_suffix(&format!(":kinesis:{region}")).expect("no region before the account");
    assert!(partition.starts_with("arn:aws"), "{arn}");
    assert_eq!(account.len(), 12, "{arn}");
}

/// Returns `true` if the text matches `[a-zA-Z0-9_.-]{1,128}`.
fn is_name(text: &str) -> bool {
    let allowed = |letter| matches!(letter, 'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '-');
    (1..=128).contains(&text.chars().count()) && text.chars().all(allowed)
}

/// Returns `true` if the text matches `arn:aws[a-z0-9-]*:kinesis:[a-z0-9-]+:[0-9]{12}:stream/<name>`.
fn is_arn(text: &str) -> bool {
    let fields: Vec<&str> = text.split(':').collect();
    let ["arn", partition, "kinesis", region, account, resource] = fields[..] else { return false };
    let word = |text: &str| text.chars().all(|one| matches!(one, 'a'..='z' | '0'..='9' | '-'));
    let name = resource.strip_prefix("stream/");
    partition.strip_prefix("aws").is_some_and(word)
        && (word(region) && !region.is_empty())
        && (account.chars().count() == 12 && account.chars().all(|digit| digit.is_ascii_digit()))
        && name.is_some_and(is_name)
}
