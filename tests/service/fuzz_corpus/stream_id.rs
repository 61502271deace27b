//! What must hold of any text that is taken for a stream's name or ARN.

use kinesis_sink::StreamId;

/// An error shows 200 characters at most of what was given, and an escape has 10 at most.
const LONGEST_ERROR: usize = 200 * 10 + 300;

pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let read: Result<StreamId, _> = text.parse();
    assert_eq!(read.is_ok(), is_name(text) || is_arn(text), "{text:?}");
    match read {
        Ok(id) => check_id(&id, text),
        Err(error) => {
            for told in [error.to_string(), format!("{error:?}")] {
                assert!(told.len() <= LONGEST_ERROR, "{} bytes", told.len());
                assert!(!told.chars().any(char::is_control), "{told:?}");
            }
        }
    }
}

fn check_id(id: &StreamId, text: &str) {
    assert_eq!(id.to_string(), text);
    assert_eq!(id.as_ref(), text);
    assert_eq!(id.to_string().parse().as_ref(), Ok(id));
    let by_name: StreamId = id.name().parse().expect("a stream's name is one");
    assert_eq!((by_name.name(), by_name.arn(), by_name.region()), (id.name(), None, None));
    let Some(arn) = id.arn() else { return assert_eq!(by_name, *id) };
    let (region, name) = (id.region().expect("an ARN has one"), id.name());
    let begin = arn.strip_suffix(&format!(":stream/{name}")).expect("it ends in the name");
    let (begin, account) = begin.rsplit_once(':').expect("there is an account");
    let partition = begin.strip_suffix(&format!(":kinesis:{region}")).expect("there is a region");
    assert!(partition.starts_with("arn:aws"), "{arn}");
    assert_eq!(account.len(), 12, "{arn}");
}

/// `[a-zA-Z0-9_.-]{1,128}`
fn is_name(text: &str) -> bool {
    let allowed = |letter| matches!(letter, 'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '.' | '-');
    (1..=128).contains(&text.chars().count()) && text.chars().all(allowed)
}

/// `arn:aws[a-z0-9-]*:kinesis:[a-z0-9-]+:[0-9]{12}:stream/<name>`
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
