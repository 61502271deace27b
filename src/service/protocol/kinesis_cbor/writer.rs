use aws_smithy_schema::Schema;
use aws_smithy_schema::codec::FinishSerializer;
use aws_smithy_schema::serde::{SerdeError, SerializableStruct, ShapeSerializer};
use aws_smithy_types::{BigDecimal, BigInteger, Blob, DateTime, Document};

use super::timestamp;
use crate::service::protocol::cbor::{BEGIN_ARRAY, BEGIN_MAP, BYTES, END, TEXT, string};

/// Writer of a request. It writes the same format as the CBOR codec of the SDK, except for times.
pub(super) struct Writer {
    body: Vec<u8>,
    /// Set to `true` in a structure, where the name of each member is written before its value. The schemas of list and
    /// map elements have names as well, but these are not written.
    in_structure: bool,
}

impl Writer {
    pub(super) fn new() -> Self {
        Self { body: Vec::new(), in_structure: false }
    }

    fn name(&mut self, schema: &Schema<'_>) {
        if let (true, Some(name)) = (self.in_structure, schema.member_name()) {
            string(TEXT, name.as_bytes(), &mut self.body);
        }
    }

    fn container(
        &mut self,
        schema: &Schema<'_>,
        begin: u8,
        is_structure: bool,
        content: &mut dyn FnMut(&mut Self) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        self.name(schema);
        let outer = std::mem::replace(&mut self.in_structure, is_structure);
        self.body.push(begin);
        content(self)?;
        self.body.push(END);
        self.in_structure = outer;
        Ok(())
    }

    fn integer(&mut self, schema: &Schema<'_>, value: i64) -> Result<(), SerdeError> {
        self.name(schema);
        timestamp::integer(value, &mut self.body);
        Ok(())
    }

    fn item(&mut self, schema: &Schema<'_>, item: &[u8]) -> Result<(), SerdeError> {
        self.name(schema);
        self.body.extend_from_slice(item);
        Ok(())
    }
}

impl FinishSerializer for Writer {
    fn finish(self) -> Vec<u8> {
        self.body
    }
}

impl ShapeSerializer for Writer {
    fn write_struct(
        &mut self,
        schema: &Schema<'_>,
        value: &dyn SerializableStruct,
    ) -> Result<(), SerdeError> {
        self.container(schema, BEGIN_MAP, true, &mut |writer| value.serialize_members(writer))
    }

    fn write_list(
        &mut self,
        schema: &Schema<'_>,
        write_elements: &dyn Fn(&mut dyn ShapeSerializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        self.container(schema, BEGIN_ARRAY, false, &mut |writer| write_elements(writer))
    }

    fn write_map(
        &mut self,
        schema: &Schema<'_>,
        write_entries: &dyn Fn(&mut dyn ShapeSerializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        self.container(schema, BEGIN_MAP, false, &mut |writer| write_entries(writer))
    }

    fn write_boolean(&mut self, schema: &Schema<'_>, value: bool) -> Result<(), SerdeError> {
        self.item(schema, if value { b"\xf5" } else { b"\xf4" })
    }

    fn write_byte(&mut self, schema: &Schema<'_>, value: i8) -> Result<(), SerdeError> {
        self.integer(schema, value.into())
    }

    fn write_short(&mut self, schema: &Schema<'_>, value: i16) -> Result<(), SerdeError> {
        self.integer(schema, value.into())
    }

    fn write_integer(&mut self, schema: &Schema<'_>, value: i32) -> Result<(), SerdeError> {
        self.integer(schema, value.into())
    }

    fn write_long(&mut self, schema: &Schema<'_>, value: i64) -> Result<(), SerdeError> {
        self.integer(schema, value)
    }

    fn write_float(&mut self, schema: &Schema<'_>, value: f32) -> Result<(), SerdeError> {
        self.item(schema, b"\xfa")?;
        self.body.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }

    fn write_double(&mut self, schema: &Schema<'_>, value: f64) -> Result<(), SerdeError> {
        self.item(schema, b"\xfb")?;
        self.body.extend_from_slice(&value.to_be_bytes());
        Ok(())
    }

    fn write_big_integer(&mut self, _: &Schema<'_>, _: &BigInteger) -> Result<(), SerdeError> {
        Err(unsupported_type("big integers"))
    }

    fn write_big_decimal(&mut self, _: &Schema<'_>, _: &BigDecimal) -> Result<(), SerdeError> {
        Err(unsupported_type("big decimals"))
    }

    fn write_string(&mut self, schema: &Schema<'_>, value: &str) -> Result<(), SerdeError> {
        self.name(schema);
        string(TEXT, value.as_bytes(), &mut self.body);
        Ok(())
    }

    fn write_blob(&mut self, schema: &Schema<'_>, value: Blob) -> Result<(), SerdeError> {
        self.name(schema);
        string(BYTES, value.as_ref(), &mut self.body);
        Ok(())
    }

    fn write_timestamp(&mut self, schema: &Schema<'_>, value: &DateTime) -> Result<(), SerdeError> {
        self.name(schema);
        timestamp::write(value, &mut self.body)
    }

    fn write_document(&mut self, _: &Schema<'_>, _: &Document) -> Result<(), SerdeError> {
        Err(unsupported_type("documents"))
    }

    fn write_null(&mut self, schema: &Schema<'_>) -> Result<(), SerdeError> {
        self.item(schema, b"\xf6")
    }
}

pub(super) fn unsupported_type(types: &str) -> SerdeError {
    SerdeError::unsupported(format!("Kinesis CBOR does not support {types}"))
}
