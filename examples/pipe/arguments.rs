use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use kinesis_sink::{Aggregation, KinesisSink, RecordOrdering, SinkBuilder};

use crate::key::{self, KeyOf};
use crate::remote::Remote;

/// Sends standard input to a Kinesis stream, a record per line, JSON document or frame.
///
/// Memory is bounded: while the stream is slow, standard input is not read. Nothing is lost without a word:
/// what was read and not delivered is written to --dead-letter FILE, or else counted in the end.
///
/// Without --stream, --region or --endpoint it starts an embedded Kinesis server in this process, reads its
/// stream back in the end and compares. That server keeps all that it is sent: it is for trying out.
///
/// Standard output stays empty. Progress, on a terminal, and the summary go to standard error.
/// The log goes there as well, at INFO, in color on a terminal unless NO_COLOR is set. Set
/// RUST_LOG=kinesis_sink=debug to see every request.
#[derive(Debug, Parser)]
#[command(name = "pipe", after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(flatten)]
    pub remote: Remote,

    /// What a record is
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Leaves the line break in the record, for consumers that join records, such as Firehose to S3
    #[arg(long)]
    pub keep_newline: bool,

    /// The partition key is what this JSON pointer (RFC 6901) finds, such as /user/id: a string as it is, a
    /// boolean or a number in JSON's notation, where numbers of more than 64 bits are rounded. Needs --format ndjson [default key: random, which spreads
    /// records evenly]
    #[arg(long, value_name = "POINTER", value_parser = key::pointer, conflicts_with = "key_field")]
    key_pointer: Option<String>,

    /// The partition key is this field of the line, counted from 1, as in cut. Needs --format lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    key_field: Option<u32>,

    /// The character between fields [default: tab]
    #[arg(long, value_name = "CHARACTER", requires = "key_field")]
    delimiter: Option<char>,

    /// Packs records into aggregates, in the KPL's format
    #[arg(long, value_enum, default_value_t)]
    aggregation: Packing,

    /// Keeps the order of the records of each partition key
    #[arg(long, value_enum, default_value_t)]
    ordering: Order,

    /// Sends CBOR instead of JSON
    #[arg(long)]
    pub cbor: bool,

    /// Gives a record up that is still waiting after so long [default: never]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    deadline: Option<u64>,

    /// Gives a record up after so many attempts [default: never]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_attempts: Option<u32>,

    /// The most bytes that are read and not delivered [default: 32 MiB]
    #[arg(long, value_name = "BYTES")]
    buffer_bytes: Option<usize>,

    /// The most records that are read and not delivered [default: 10000, with aggregation 100000]
    #[arg(long, value_name = "N")]
    buffer_records: Option<usize>,

    /// Appends what could not be delivered to this file, a JSON object per record, and goes on. It holds
    /// the records themselves and their keys, unlike any log of this program: a new file is readable by
    /// you alone
    #[arg(long, value_name = "FILE")]
    pub dead_letter: Option<PathBuf>,

    /// Shows neither progress nor summary, only warnings and errors
    #[arg(long)]
    pub quiet: bool,

    /// Lets the embedded server enforce the limits of its shards (1,000 records and 1 MiB a second)
    #[arg(long, conflicts_with_all = ["stream", "region", "endpoint"])]
    pub throttled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// A line, without its line break. An empty line is an empty record. A byte order mark (UTF-8) at the
    /// beginning of the input is skipped, with ndjson as well
    #[default]
    Lines,
    /// A line that is checked to be JSON, and sent as it is. Blank lines are skipped
    Ndjson,
    /// A length of 4 bytes, big-endian, and so many bytes, at most 10485760
    LengthPrefixed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Packing {
    #[default]
    Off,
    /// Records with the same key travel together: for few keys, or none
    PerKey,
    /// Records for the same shard travel together: for many keys
    PerShard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum Order {
    #[default]
    None,
    PerKey,
}

const AFTER_HELP: &str = "\
Interruption:
  The first Ctrl-C, or SIGTERM, ends reading and sends what was read. A second one gives up what is left, and
  says how many records that were, and how many of them may be in the stream all the same.

Bad input and records that fail:
  With --dead-letter FILE they go there, and the rest goes on. Without it the first one ends reading; what was
  read before is sent. An input that breaks off inside of a frame, or has a frame that is too large, ends
  reading either way. A line of the file is
    {\"reason\":..,\"code\":..,\"message\":..,\"attempts\":..,\"may_have_been_written\":..,\"partition_key\":..,\"data\":..}
  where reason is bad_input (never sent), rejected, attempts_exhausted, deadline_exceeded or withdrawn (left
  when it ended); code is the service's; partition_key is null if it was random; data is text, or in its
  place data_base64 where it is not UTF-8. Neither is there of a line with more than 10485760 bytes.
  To send those that are text again: jq -r '.data // empty' FILE | pipe ..

Exit status:
  0    everything was delivered
  1    the stream takes nothing, standard input cannot be read, a setting is out of range, or another error
  2    the options are wrong
  3    some of the input was bad, or was not delivered
  130  ended by Ctrl-C, 143 by SIGTERM, unless one of the errors of 1 came after it

Examples:
  printf 'one\\ntwo\\n' | cargo run --example pipe
  tail -F access.log | pipe --stream clicks --region eu-west-1 --aggregation per-key
  zcat events.gz | pipe --stream events --format ndjson --key-pointer /user/id --ordering per-key \\
    --dead-letter dead.ndjson";

impl Arguments {
    /// Ends the program if the options are wrong.
    pub fn read() -> Self {
        let arguments = Self::parse();
        if let Some(wrong) = arguments.wrong() {
            Self::command().error(ErrorKind::ArgumentConflict, wrong).exit();
        }
        arguments
    }

    /// What is wrong with the options together.
    fn wrong(&self) -> Option<&'static str> {
        if self.key_pointer.is_some() && self.format != Format::Ndjson {
            return Some("--key-pointer needs --format ndjson");
        }
        if self.key_field.is_some() && self.format != Format::Lines {
            return Some("--key-field needs --format lines; in JSON, --key-pointer names the key");
        }
        if self.keep_newline && self.format == Format::LengthPrefixed {
            return Some(
                "--keep-newline needs --format lines or ndjson: frames have no line break",
            );
        }
        if self.ordering == Order::PerKey && matches!(self.key(), KeyOf::Nothing) {
            return Some("--ordering per-key needs keys: give --key-pointer or --key-field");
        }
        None
    }

    /// Where the partition keys come from.
    pub fn key(&self) -> KeyOf {
        match (&self.key_pointer, self.key_field) {
            (Some(pointer), _) => KeyOf::Pointer(pointer.clone()),
            (None, Some(number)) => {
                KeyOf::Field { number, delimiter: self.delimiter.unwrap_or('\t') }
            }
            (None, None) => KeyOf::Nothing,
        }
    }

    /// The sink's settings.
    pub fn builder(&self, stream: &str) -> SinkBuilder {
        let mut builder = KinesisSink::builder(stream)
            .with_aggregation(match self.aggregation {
                Packing::Off => Aggregation::Off,
                Packing::PerKey => Aggregation::PerKey,
                Packing::PerShard => Aggregation::PerShard,
            })
            .with_ordering(match self.ordering {
                Order::None => RecordOrdering::Unordered,
                Order::PerKey => RecordOrdering::PerKey,
            });
        if let Some(seconds) = self.deadline {
            builder = builder.with_deadline(Duration::from_secs(seconds));
        }
        if let Some(attempts) = self.max_attempts {
            builder = builder.configure(|settings| settings.max_attempts = Some(attempts));
        }
        if let Some(bytes) = self.buffer_bytes {
            builder = builder.configure(|settings| settings.buffer_bytes = bytes);
        }
        if let Some(records) = self.buffer_records {
            builder = builder.configure(|settings| settings.buffer_records = Some(records));
        }
        builder
    }
}
