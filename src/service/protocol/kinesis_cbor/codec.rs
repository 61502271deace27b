use aws_smithy_schema::codec::Codec;

use super::reader::Reader;
use super::writer::Writer;

/// What Kinesis makes of CBOR. The SDK's own codec, for another protocol of AWS's, differs in how it
/// writes times, takes a map that ends too early for a whole one, and does not read times without a tag.
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
