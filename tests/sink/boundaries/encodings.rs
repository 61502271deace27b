//! Encodings of a `PutRecords` request, and a consumer that reads the records back.

use std::collections::HashMap;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::types::{Record as Read, ShardIteratorType};
use kinesis_sink::service::PutRecords;
use kinesis_sink::sim::SimStream;
use kinesis_sink::{KinesisSink, SinkBuilder};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    DirectJson,
    SdkJson,
    DirectCbor,
    SdkCbor,
}

pub const ENCODINGS: &[Encoding] =
    &[Encoding::DirectJson, Encoding::SdkJson, Encoding::DirectCbor, Encoding::SdkCbor];

impl Encoding {
    pub fn service(self, client: &Client) -> PutRecords {
        let service = PutRecords::new(client).without_stalled_stream_protection();
        match self {
            Self::DirectJson => service.with_direct_serialization(),
            Self::SdkJson => service.with_sdk_serialization(),
            Self::DirectCbor => service.with_cbor().with_direct_serialization(),
            Self::SdkCbor => service.with_cbor().with_sdk_serialization(),
        }
    }

    pub fn sink(self, kinesis: &SimStream, builder: SinkBuilder) -> KinesisSink<PutRecords> {
        let client = kinesis.client();
        let builder = builder.with_stream_info(kinesis.clone());
        builder.build_with(self.service(&client)).unwrap()
    }
}

pub async fn read_back(kinesis: &SimStream) -> HashMap<(String, String), Read> {
    let client = kinesis.client();
    let mut found = HashMap::new();
    for shard in kinesis.shards() {
        let first = client
            .get_shard_iterator()
            .stream_name("example")
            .shard_id(shard.id())
            .shard_iterator_type(ShardIteratorType::TrimHorizon);
        let mut iterator = first.send().await.unwrap().shard_iterator;
        while let Some(next) = iterator {
            let page = client.get_records().shard_iterator(next).send().await.unwrap();
            iterator = page.next_shard_iterator.filter(|_| !page.records.is_empty());
            let location = |read: &Read| (shard.id().to_owned(), read.sequence_number.clone());
            found.extend(page.records.into_iter().map(|read| (location(&read), read)));
        }
    }
    found
}
