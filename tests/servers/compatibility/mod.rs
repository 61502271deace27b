//! The sink against servers that other people made: ferrokinesis in this process, kinesis-local and
//! kinesalite on Node, in JSON and in CBOR.
//!
//! ```sh
//! mkdir -p target/kinesis-servers
//! cp tests/servers/package.json tests/servers/package-lock.json target/kinesis-servers
//! npm ci --prefix target/kinesis-servers --ignore-scripts
//! cargo test --test servers
//! ```
//!
//! `KINESIS_SERVERS_PATH` names the directory if it is another one. Where Node or a package is missing, the
//! tests of that server say that they are skipped, and fail if `REQUIRE_SERVERS` is set.
//!
//! What a server cannot do is in `features.rs` with its reason, and `shortcomings.rs` shows it without the
//! sink. None of these servers has quotas (but the embedded one, elsewhere), faults, or lost answers.
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
use server::{Make, Protocol, Server};

/// A guard against hanging, far above what any case takes.
const PATIENCE: Duration = Duration::from_secs(150);

/// Makes a test of each case, on one server in one protocol, that is left out with a notice where the
/// server lacks what the case needs.
macro_rules! suite {
    ($name:ident: $make:ident in both) => {
        mod $name {
            use super::*;

            suite! { @cases $make Cbor
                protocols::what_is_put_in_either_is_stored_the_same needs KeepData;
                protocols::places_are_the_same;
                protocols::failures_are_the_same;
                protocols::descriptions_are_the_same;
                protocols::records_are_read_from_a_time_on needs ReadFromTime;
            }
        }
    };
    ($name:ident: $make:ident in $protocol:ident) => {
        mod $name {
            use super::*;

            suite! { @cases $make $protocol
                round_trip::payloads_of_all_bytes_and_sizes;
                round_trip::keys_in_any_script;
                round_trip::keys_of_256_characters needs KeysInCharacters;
                round_trip::explicit_hash_keys_up_to_the_ends_of_the_ring;
                round_trip::a_stream_that_is_forwarded;
                receipts::of_many_tasks_name_the_place_of_each_record;
                aggregation::per_key;
                aggregation::per_shard;
                ordering::each_keys_order_is_kept_through_failures;
                lookups::shards_are_listed;
                lookups::the_stream_is_described;
                lookups::a_missing_stream_is_told;
                lookups::records_are_put_by_arn needs PutByArn;
                lookups::shards_are_listed_by_arn needs LookUpByArn;
                lookups::the_stream_is_described_by_arn needs LookUpByArn;
                rejections::a_missing_stream_is_fatal_and_its_records_are_handed_back;
                rejections::a_producer_of_a_missing_stream_hands_its_records_back;
                rejections::an_oversize_record_is_refused_before_it_is_sent;
                rejections::a_record_that_the_server_refuses_fails_alone;
                rejections::a_request_that_is_too_large_for_the_server_is_split needs RequestLimit;
                resharding::nothing_is_lost_and_all_lies_where_it_belongs;
            }
        }
    };
    (@cases $make:ident $protocol:ident $($room:ident::$case:ident $(needs $feature:ident)?;)*) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $case() {
            let needs: &[Feature] = &[$(Feature::$feature)?];
            let run = async {
                if let Some(server) = Server::start(Make::$make, Protocol::$protocol, needs).await {
                    $room::$case(&server).await;
                }
            };
            tokio::time::timeout(PATIENCE, run).await.expect("it ends in time");
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
