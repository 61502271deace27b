//! Tests with three servers, in JSON and in CBOR: ferrokinesis in this process, kinesis-local and kinesalite on Node.
//!
//! ```sh
//! mkdir -p target/kinesis-servers
//! cp tests/servers/package.json tests/servers/package-lock.json target/kinesis-servers
//! npm ci --prefix target/kinesis-servers --ignore-scripts
//! cargo test --test servers
//! ```
//!
//! `KINESIS_SERVERS_PATH` overrides the directory of the Node packages. If Node or a package is missing, the tests of
//! that server print that they are skipped, or fail if `REQUIRE_SERVERS` is set.
#![cfg(feature = "aws-config")]

mod aggregation;
mod features;
mod limitations;
mod lookups;
mod node;
mod node_buffers;
mod ordering;
mod protocols;
mod raw;
mod receipts;
mod rejections;
mod resharding;
mod round_trip;
mod server;
mod stream;

use std::time::Duration;

use features::Feature;
use server::{Protocol, Server, ServerKind};

const TIMEOUT: Duration = Duration::from_secs(150);

/// Defines one test per case. If the server lacks a feature that the case needs, the test prints a notice and passes.
macro_rules! suite {
    ($name:ident: $kind:ident in both) => {
        mod $name {
            use super::*;

            suite! { @cases $kind Cbor
                protocols::json_and_cbor_store_same_records needs BinaryData;
                protocols::json_and_cbor_select_same_shards;
                protocols::json_and_cbor_report_same_errors;
                protocols::json_and_cbor_describe_same_stream;
                protocols::get_records_starts_at_timestamp needs ReadFromTime;
            }
        }
    };
    ($name:ident: $kind:ident in $protocol:ident) => {
        mod $name {
            use super::*;

            suite! { @cases $kind $protocol
                round_trip::payloads_round_trip_unchanged;
                round_trip::unicode_keys_round_trip_unchanged;
                round_trip::keys_of_256_characters_round_trip needs KeysInCharacters;
                round_trip::explicit_hash_keys_select_shard;
                round_trip::forward_delivers_source_with_pauses;
                receipts::receipts_name_shard_and_sequence_number;
                aggregation::aggregates_per_key_round_trip;
                aggregation::aggregates_per_shard_round_trip;
                ordering::retries_keep_order_per_key;
                lookups::list_shards_returns_open_shards;
                lookups::describe_stream_returns_defaults;
                lookups::lookups_fail_for_missing_stream;
                lookups::put_records_accepts_stream_arn needs PutByArn;
                lookups::list_shards_accepts_stream_arn needs LookupByArn;
                lookups::describe_stream_accepts_stream_arn needs LookupByArn;
                rejections::sink_returns_records_of_missing_stream;
                rejections::producer_returns_records_of_missing_stream;
                rejections::oversize_record_fails_without_request;
                rejections::poison_record_fails_alone;
                rejections::oversize_request_is_bisected needs RequestLimit;
                resharding::resharding_does_not_lose_aggregated_records;
            }
        }
    };
    (@cases $kind:ident $protocol:ident $($module:ident::$case:ident $(needs $feature:ident)?;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            let needs: &[Feature] = &[$(Feature::$feature)?];
            let run = async {
                if let Some(server) = Server::start(ServerKind::$kind, Protocol::$protocol, needs).await {
                    $module::$case(&server).await;
                }
            };
            tokio::time::timeout(TIMEOUT, run).await.expect("the case ends before the timeout");
        }
    )*};
}

suite!(embedded_json: Embedded in Json);
suite!(kinesis_local_json: KinesisLocal in Json);
suite!(kinesalite_json: Kinesalite in Json);
suite!(embedded_cbor: Embedded in Cbor);
suite!(kinesis_local_cbor: KinesisLocal in Cbor);
suite!(kinesalite_cbor: Kinesalite in Cbor);
suite!(embedded_both: Embedded in both);
suite!(kinesis_local_both: KinesisLocal in both);
suite!(kinesalite_both: Kinesalite in both);
