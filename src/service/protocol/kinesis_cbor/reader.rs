use aws_smithy_cbor::Decoder;
use aws_smithy_cbor::data::Type;
use aws_smithy_cbor::decode::DeserializeError;
use aws_smithy_schema::Schema;
use aws_smithy_schema::serde::{SerdeError, ShapeDeserializer};
use aws_smithy_types::{BigDecimal, BigInteger, Blob, DateTime, Document};
use base64_simd::STANDARD;

use super::timestamp;
use super::writer::unsupported_type;

/// Reader of a response. Returns an error if the response is truncated or has trailing bytes.
pub(super) struct Reader<'a> {
    decoder: Decoder<'a>,
    input: &'a [u8],
    depth: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(input: &'a [u8]) -> Self {
        Self { decoder: Decoder::new(input), input, depth: 0 }
    }

    /// Calls `item` for each item of a container, which has `length` items or ends with a break.
    fn items(
        &mut self,
        length: Option<u64>,
        item: &mut dyn FnMut(&mut Self) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        self.depth += 1;
        let mut read = 0;
        while !self.at_end(length, read)? {
            item(self)?;
            read += 1;
        }
        self.depth -= 1;
        if self.depth == 0 && self.decoder.position() != self.input.len() {
            return Err(SerdeError::invalid_input("trailing bytes after the CBOR of the response"));
        }
        Ok(())
    }

    fn at_end(&mut self, length: Option<u64>, read: u64) -> Result<bool, SerdeError> {
        if let Some(length) = length {
            return Ok(read == length);
        }
        let at_break = self.decoder.datatype().map_err(invalid)? == Type::Break;
        if at_break {
            self.decoder.skip().map_err(invalid)?;
        }
        Ok(at_break)
    }
}

/// Converts a decoder error. Its message contains types and positions, but no content of the response.
pub(super) fn invalid(error: DeserializeError) -> SerdeError {
    SerdeError::invalid_input(error.to_string())
}

impl ShapeDeserializer for Reader<'_> {
    fn read_struct(
        &mut self,
        schema: &Schema<'_>,
        consumer: &mut dyn FnMut(&Schema<'_>, &mut dyn ShapeDeserializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        let length = self.decoder.map().map_err(invalid)?;
        self.items(length, &mut |reader| {
            let name = reader.decoder.str().map_err(invalid)?;
            match schema.member_schema(&name) {
                // Treats a null as a missing member.
                Some(member) if !reader.is_null() => consumer(member, reader),
                _ => reader.skip_value(),
            }
        })
    }

    fn read_list(
        &mut self,
        _: &Schema<'_>,
        consumer: &mut dyn FnMut(&mut dyn ShapeDeserializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        let length = self.decoder.list().map_err(invalid)?;
        self.items(length, &mut |reader| consumer(reader))
    }

    fn read_map(
        &mut self,
        _: &Schema<'_>,
        consumer: &mut dyn FnMut(String, &mut dyn ShapeDeserializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        let length = self.decoder.map().map_err(invalid)?;
        self.items(length, &mut |reader| {
            let key = reader.decoder.str().map_err(invalid)?.into_owned();
            consumer(key, reader)
        })
    }

    fn read_boolean(&mut self, _: &Schema<'_>) -> Result<bool, SerdeError> {
        self.decoder.boolean().map_err(invalid)
    }

    fn read_byte(&mut self, _: &Schema<'_>) -> Result<i8, SerdeError> {
        self.decoder.byte().map_err(invalid)
    }

    fn read_short(&mut self, _: &Schema<'_>) -> Result<i16, SerdeError> {
        self.decoder.short().map_err(invalid)
    }

    fn read_integer(&mut self, _: &Schema<'_>) -> Result<i32, SerdeError> {
        self.decoder.integer().map_err(invalid)
    }

    fn read_long(&mut self, _: &Schema<'_>) -> Result<i64, SerdeError> {
        self.decoder.long().map_err(invalid)
    }

    fn read_float(&mut self, _: &Schema<'_>) -> Result<f32, SerdeError> {
        self.decoder.float().map_err(invalid)
    }

    fn read_double(&mut self, _: &Schema<'_>) -> Result<f64, SerdeError> {
        self.decoder.double().map_err(invalid)
    }

    fn read_big_integer(&mut self, _: &Schema<'_>) -> Result<BigInteger, SerdeError> {
        Err(unsupported_type("big integers"))
    }

    fn read_big_decimal(&mut self, _: &Schema<'_>) -> Result<BigDecimal, SerdeError> {
        Err(unsupported_type("big decimals"))
    }

    fn read_string(&mut self, _: &Schema<'_>) -> Result<String, SerdeError> {
        Ok(self.decoder.str().map_err(invalid)?.into_owned())
    }

    fn read_blob(&mut self, _: &Schema<'_>) -> Result<Blob, SerdeError> {
        let Ok(Type::String | Type::StringIndef) = self.decoder.datatype() else {
            return self.decoder.blob().map_err(invalid);
        };
        // Some servers send base64 as in JSON, which the Java SDKs accept.
        let text = self.decoder.str().map_err(invalid)?;
        let data = STANDARD.decode_to_vec(text.as_bytes());
        data.map(Blob::new)
            .map_err(|_| SerdeError::invalid_input("text of binary data is not base64"))
    }

    fn read_timestamp(&mut self, _: &Schema<'_>) -> Result<DateTime, SerdeError> {
        timestamp::read(&mut self.decoder, self.input).map_err(invalid)
    }

    fn read_document(&mut self, _: &Schema<'_>) -> Result<Document, SerdeError> {
        Err(unsupported_type("documents"))
    }

    fn is_null(&self) -> bool {
        matches!(self.decoder.datatype(), Ok(Type::Null | Type::Undefined))
    }

    fn read_null(&mut self) -> Result<(), SerdeError> {
        self.skip_value()
    }

    fn skip_value(&mut self) -> Result<(), SerdeError> {
        self.decoder.skip().map_err(invalid)
    }

    fn container_size(&self) -> Option<usize> {
        None
    }
}
