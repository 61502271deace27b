use aws_smithy_schema::codec::Codec;

use super::reader::Reader;
use super::writer::Writer;

/// Codec of Kinesis CBOR. It replaces the CBOR codec of the SDK, because that codec writes times in another format,
/// accepts truncated maps, and rejects times without a tag.
#[derive(Debug)]
pub(super) struct KinesisCborCodec;

impl Codec for KinesisCborCodec {
    type Serializer = Writer;
    type Deserializer<'a> = Reader<'a>;

    fn create_serializer(&self) -> Writer {
        Writer::new()
    }

    fn create_deserializer<'a>(&self, input: &'a [u8]) -> Reader<'a> {
        Reader::new(input)
    }
}
