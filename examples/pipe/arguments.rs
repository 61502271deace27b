use std::path::PathBuf;
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use kinesis_sink::{Aggregation, KinesisSink, RecordOrdering, SinkBuilder};

use crate::record::{KeySource, parse_pointer};
use crate::remote::Remote;
use crate::spool::SpoolOptions;

/// Sends standard input to a Kinesis stream, one record per line, JSON document, or frame.
///
/// Memory is bounded: standard input is not read while the buffer is full. Records that are read and not
/// delivered are written to --dead-letter FILE, or counted at the end.
///
/// Without --stream, --region, or --endpoint it sends to an embedded Kinesis server in this process and
/// verifies the records of its stream. The server keeps all records in memory.
///
/// With --spool DIR, records are stored on disk until they are delivered, and the next start sends what an
/// interrupted or killed process has left.
///
/// Progress (on a terminal), the summary, and the log go to standard error, nothing but the tables of
/// --spool-info and --spool-verify to standard output. The log is at INFO, and in color on a terminal unless NO_COLOR is set. Set RUST_LOG=kinesis_sink=debug to log
/// every request.
#[derive(Debug, Parser)]
#[command(name = "pipe", after_help = AFTER_HELP)]
pub struct Arguments {
    #[command(flatten)]
    pub remote: Remote,

    /// Format of the input
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Keep the line break in the record, for consumers that concatenate records, such as Firehose to S3
    #[arg(long)]
    pub keep_newline: bool,

    /// JSON pointer (RFC 6901) to the partition key, such as /user/id. The value is a string, or a boolean or
    /// a number in JSON notation; numbers of more than 64 bits are rounded. Needs --format ndjson [default:
    /// random keys, which distribute records evenly]
    #[arg(long, value_name = "POINTER", value_parser = parse_pointer, conflicts_with = "key_field")]
    key_pointer: Option<String>,

    /// Field of the line to use as the partition key, counted from 1, as in cut. Needs --format lines
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    key_field: Option<u32>,

    /// Character that separates fields [default: tab]
    #[arg(long, value_name = "CHARACTER", requires = "key_field")]
    delimiter: Option<char>,

    /// Aggregate records, in the format of the KPL
    #[arg(long, value_enum, default_value_t)]
    aggregation: AggregationMode,

    /// Keep the order of the records of each partition key
    #[arg(long, value_enum, default_value_t)]
    ordering: OrderingMode,

    /// Send requests in CBOR instead of JSON
    #[arg(long)]
    pub cbor: bool,

    /// Time after which an undelivered record fails, in seconds [default: none]
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    deadline: Option<u64>,

    /// Number of attempts after which a record fails [default: unlimited]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_attempts: Option<u32>,

    /// Maximum size of the buffered records, in bytes [default: 32 MiB]
    #[arg(long, value_name = "BYTES")]
    buffer_bytes: Option<usize>,

    /// Maximum number of buffered records [default: 10000, or 100000 with aggregation]
    #[arg(long, value_name = "N")]
    buffer_records: Option<usize>,

    /// File to append undelivered records to, as one JSON object per line. It contains the data and the
    /// partition keys of the records. If the file is created, only its owner can read it
    #[arg(long, value_name = "FILE")]
    pub dead_letter: Option<PathBuf>,

    #[command(flatten)]
    pub spool: SpoolOptions,

    /// Print only warnings and errors, without progress and summary
    #[arg(long)]
    pub quiet: bool,

    /// Let the embedded server enforce the limits of its shards (1,000 records and 1 MiB per second)
    #[arg(long, conflicts_with_all = ["stream", "region", "endpoint"])]
    pub throttled: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Format {
    /// One record per line, without its line break. An empty line is an empty record. A UTF-8 byte order
    /// mark at the start of the input is skipped, also with ndjson
    #[default]
    Lines,
    /// One JSON document per line, which is validated and sent unchanged. Blank lines are skipped
    Ndjson,
    /// Length as a 32-bit big-endian integer, at most 10485760, followed by the data
    LengthPrefixed,
    /// Lines of a file that --dead-letter wrote. Each record is sent with its data, partition key, and
    /// explicit hash key. Blank lines are skipped
    DeadLetters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum AggregationMode {
    #[default]
    Off,
    /// Aggregate records of the same key: for few keys, or none
    PerKey,
    /// Aggregate records of the same shard: for many keys
    PerShard,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
enum OrderingMode {
    #[default]
    None,
    PerKey,
}

const AFTER_HELP: &str = "\
Interruption:
  The first Ctrl-C or SIGTERM stops reading and sends the records read so far. A second one aborts, and
  prints how many records were not delivered and how many of them may be in the stream.

Invalid input and failed records:
  With --dead-letter FILE they are written to FILE and reading continues. Otherwise the first one stops
  reading, and the records read before it are sent. Input that ends within a frame, and a frame that is too
  large, always stop reading. A line of FILE is
    {\"reason\":..,\"code\":..,\"message\":..,\"attempts\":..,\"may_have_been_written\":..,\"partition_key\":..,\"data\":..}
  where reason is bad_input (never sent), rejected, attempts_exhausted, deadline_exceeded, or withdrawn (not
  delivered when the program ended), code is the error code of the service, and partition_key is null if it
  was random. data_base64 replaces data if it is not UTF-8. A line of more than 10485760 bytes has neither.

Sending failed records again:
  pipe --format dead-letters --dead-letter FILE2 .. < FILE
  FILE is not changed; remove it when the exit status is 0, or 3 with --dead-letter FILE2. FILE2 then has the
  records that failed again, and, unchanged, the lines of FILE that cannot be sent: those of bad_input, which
  have never been records, and damaged ones. Without --dead-letter the first such line stops reading; start
  again at line N with: tail -n +N FILE | pipe ..
  To list bad_input, for a correction in its own format: jq -r 'select(.reason == \"bad_input\") | .data' FILE
  Records with may_have_been_written are sent too, and can be in the stream twice; the summary counts them.

Spool:
  A record is accepted when it is on disk in DIR. Accepted records survive kill -9 and a crash of the program,
  and also a power cut with --spool-sync always; with interval, a power cut can lose the last 100 ms. Lines that
  are read and not yet on disk are lost: at most 8,192 records or 4 MiB, and a read buffer of 128 KiB.
  \"accepted so far\" of --spool-info counts all records since DIR was created: if they are all from one FILE of
  lines, continue it after a kill with: tail -n +$((ACCEPTED + 1)) FILE | pipe --spool DIR ..
  At the end of the input the program waits until everything is delivered. Ctrl-C and SIGTERM end it at once and
  leave the rest in DIR. Payloads and keys are stored in clear text; only the owner can read the files. One
  process can use DIR at a time, and only for one stream. --spool-info and --spool-verify change nothing.

Exit status:
  0    all records were delivered
  1    the stream rejects all requests, standard input cannot be read, a setting is out of range, or another
       error occurred
  2    the options are invalid
  3    part of the input was invalid or not delivered, or --spool-verify found damage
  130  interrupted by Ctrl-C, or 143 by SIGTERM, unless an error of status 1 followed

Examples:
  printf 'one\\ntwo\\n' | cargo run --example pipe
  tail -F access.log | pipe --stream clicks --region eu-west-1 --aggregation per-key
  zcat events.gz | pipe --stream events --format ndjson --key-pointer /user/id --ordering per-key \\
    --dead-letter dead.ndjson
  pipe --format dead-letters --stream events --dead-letter again.ndjson < dead.ndjson";

impl Arguments {
    /// Parses the command line. Exits if the options are invalid.
    pub fn parse_or_exit() -> Self {
        let arguments = Self::parse();
        if let Some(conflict) = arguments.conflict() {
            Self::command().error(ErrorKind::ArgumentConflict, conflict).exit();
        }
        arguments
    }

    fn conflict(&self) -> Option<&'static str> {
        if self.spool.needs_stream() && !self.remote.is_set() {
            return Some("--spool needs a stream: give --stream, --region, or --endpoint");
        }
        if self.key_pointer.is_some() && self.format != Format::Ndjson {
            return Some("--key-pointer needs --format ndjson");
        }
        if self.key_field.is_some() && self.format != Format::Lines {
            return Some("--key-field needs --format lines; in JSON, --key-pointer names the key");
        }
        if self.keep_newline && matches!(self.format, Format::LengthPrefixed | Format::DeadLetters)
        {
            return Some(
                "--keep-newline needs --format lines or ndjson: other records have no line break",
            );
        }
        let has_keys =
            self.format == Format::DeadLetters || !matches!(self.key_source(), KeySource::Random);
        if self.ordering == OrderingMode::PerKey && !has_keys {
            return Some("--ordering per-key needs keys: give --key-pointer or --key-field");
        }
        None
    }

    pub fn key_source(&self) -> KeySource {
        match (&self.key_pointer, self.key_field) {
            (Some(pointer), _) => KeySource::Pointer(pointer.clone()),
            (None, Some(number)) => {
                KeySource::Field { number, delimiter: self.delimiter.unwrap_or('\t') }
            }
            (None, None) => KeySource::Random,
        }
    }

    /// Returns a builder with the settings of the sink.
    pub fn builder(&self, stream: &str) -> SinkBuilder {
        let mut builder = KinesisSink::builder(stream)
            .with_aggregation(match self.aggregation {
                AggregationMode::Off => Aggregation::Off,
                AggregationMode::PerKey => Aggregation::PerKey,
                AggregationMode::PerShard => Aggregation::PerShard,
            })
            .with_ordering(match self.ordering {
                OrderingMode::None => RecordOrdering::Unordered,
                OrderingMode::PerKey => RecordOrdering::PerKey,
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
