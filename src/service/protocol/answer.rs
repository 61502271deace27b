//! The answer, read into this crate's results instead of the SDK's output.

use std::sync::{Arc, Mutex, PoisonError};

use aws_sdk_kinesis::types::PutRecordsResultEntry;
use aws_smithy_schema::Schema;
use aws_smithy_schema::serde::{SerdeError, ShapeDeserializer};
use aws_smithy_types::{BigDecimal, BigInteger, Blob, DateTime, Document};

use crate::service::response::Answered;
use crate::service::{EntryError, Placement};

type Results = Vec<Result<Placement, EntryError>>;

/// Where the results of a call are left for whoever made it. The SDK's output of that call has none.
#[derive(Debug, Clone, Default)]
pub(in crate::service) struct Answer(Arc<Mutex<Option<Results>>>);

impl Answer {
    /// The results, unless there were none to be read in this way.
    pub(in crate::service) fn take(&self) -> Option<Results> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn put(&self, results: Results) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(results);
    }
}

/// Hands a PutRecords output's members to the SDK, but for `Records`, which it keeps.
pub(super) struct AnswerReader<'a> {
    pub(super) inner: Box<dyn ShapeDeserializer + 'a>,
    pub(super) answer: Answer,
    /// Entries that were sent, so as many as there should be results.
    pub(super) entries: usize,
}

fn results(
    list: &Schema<'_>,
    reader: &mut dyn ShapeDeserializer,
    entries: usize,
) -> Result<Results, SerdeError> {
    let mut results = Vec::with_capacity(entries);
    reader.read_list(list, &mut |reader| {
        results.push(result(reader)?);
        Ok(())
    })?;
    Ok(results)
}

fn result(reader: &mut dyn ShapeDeserializer) -> Result<Result<Placement, EntryError>, SerdeError> {
    let mut answered = Answered::default();
    reader.read_struct(PutRecordsResultEntry::SCHEMA, &mut |member, reader| {
        let place = match member.member_name() {
            Some("SequenceNumber") => &mut answered.sequence_number,
            Some("ShardId") => &mut answered.shard_id,
            Some("ErrorCode") => &mut answered.error_code,
            Some("ErrorMessage") => &mut answered.error_message,
            // What the consumer does not read, the reader skips.
            _ => return Ok(()),
        };
        if reader.is_null() {
            return reader.read_null();
        }
        *place = Some(reader.read_string(member)?);
        Ok(())
    })?;
    Ok(answered.into())
}

/// Everything but the output itself is the inner reader's.
macro_rules! forward {
    ($($method:ident -> $value:ty),* $(,)?) => {
        $(fn $method(&mut self, schema: &Schema<'_>) -> Result<$value, SerdeError> {
            self.inner.$method(schema)
        })*
    };
}

impl ShapeDeserializer for AnswerReader<'_> {
    fn read_struct(
        &mut self,
        schema: &Schema<'_>,
        consumer: &mut dyn FnMut(&Schema<'_>, &mut dyn ShapeDeserializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        let (answer, entries) = (&self.answer, self.entries);
        answer.put(Vec::new());
        self.inner.read_struct(schema, &mut |member, reader| {
            if member.member_name() == Some("Records") {
                answer.put(results(member, reader, entries)?);
                return Ok(());
            }
            consumer(member, reader)
        })
    }

    fn read_list(
        &mut self,
        schema: &Schema<'_>,
        consumer: &mut dyn FnMut(&mut dyn ShapeDeserializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        self.inner.read_list(schema, consumer)
    }

    fn read_map(
        &mut self,
        schema: &Schema<'_>,
        consumer: &mut dyn FnMut(String, &mut dyn ShapeDeserializer) -> Result<(), SerdeError>,
    ) -> Result<(), SerdeError> {
        self.inner.read_map(schema, consumer)
    }

    forward! {
        read_boolean -> bool,
        read_byte -> i8,
        read_short -> i16,
        read_integer -> i32,
        read_long -> i64,
        read_float -> f32,
        read_double -> f64,
        read_big_integer -> BigInteger,
        read_big_decimal -> BigDecimal,
        read_string -> String,
        read_blob -> Blob,
        read_timestamp -> DateTime,
        read_document -> Document,
    }

    fn is_null(&self) -> bool {
        self.inner.is_null()
    }

    fn read_null(&mut self) -> Result<(), SerdeError> {
        self.inner.read_null()
    }

    fn skip_value(&mut self) -> Result<(), SerdeError> {
        self.inner.skip_value()
    }

    fn container_size(&self) -> Option<usize> {
        self.inner.container_size()
    }
}
