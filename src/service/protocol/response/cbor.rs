use super::{Members, ResultReader, is_text, set_once};
use crate::service::protocol::cbor::{BEGIN_ARRAY, BEGIN_MAP, END, TEXT};

const UNSIGNED: u8 = 0;
const ARRAY: u8 = 4 << 5;
const MAP: u8 = 5 << 5;
const NULL: u8 = 0xf6;

/// Parses a CBOR response with definite or indefinite lengths. Returns `None` if the response is unusual.
pub(super) fn read(response: &[u8], results: &mut ResultReader<'_>) -> Option<()> {
    let mut reader = Reader { rest: response };
    let mut has_records = false;
    reader.each(MAP, BEGIN_MAP, |reader| match reader.text()? {
        b"Records" => {
            // If the member is repeated, the last one takes effect.
            results.results.clear();
            has_records = true;
            reader.each(ARRAY, BEGIN_ARRAY, |reader| {
                let members = reader.result()?;
                results.push(&members)
            })
        }
        b"FailedRecordCount" => reader.number_or_null(),
        b"EncryptionType" => is_text(reader.text_or_null()?),
        _ => None,
    })?;
    (has_records && reader.rest.is_empty()).then_some(())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn skips(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn take(&mut self, bytes: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(bytes)?;
        self.rest = rest;
        Some(taken)
    }

    fn head(&mut self, major: u8) -> Option<usize> {
        let first = self.take(1)?[0];
        if first & 0xe0 != major {
            return None;
        }
        let bytes = match first & 0x1f {
            number @ ..24 => return Some(number.into()),
            24 => 1,
            25 => 2,
            26 => 4,
            // No response has an item of 4 GiB.
            _ => return None,
        };
        Some(self.take(bytes)?.iter().fold(0, |number, &byte| number << 8 | usize::from(byte)))
    }

    fn each(
        &mut self,
        major: u8,
        begin: u8,
        mut read: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        if self.skips(begin) {
            while !self.skips(END) {
                read(self)?;
            }
            return Some(());
        }
        (0..self.head(major)?).try_for_each(|_| read(self))
    }

    /// Reads a text string without checking that it is valid UTF-8.
    fn text(&mut self) -> Option<&'a [u8]> {
        let length = self.head(TEXT)?;
        self.take(length)
    }

    fn text_or_null(&mut self) -> Option<Option<&'a [u8]>> {
        if self.skips(NULL) { Some(None) } else { self.text().map(Some) }
    }

    fn number_or_null(&mut self) -> Option<()> {
        if self.skips(NULL) {
            return Some(());
        }
        let number = self.head(UNSIGNED)?;
        i32::try_from(number).ok().map(drop)
    }

    fn result(&mut self) -> Option<Members<'a>> {
        let mut members = Members::default();
        self.each(MAP, BEGIN_MAP, |reader| {
            let member = match reader.text()? {
                b"SequenceNumber" => &mut members.sequence_number,
                b"ShardId" => &mut members.shard_id,
                b"ErrorCode" => &mut members.error_code,
                b"ErrorMessage" => &mut members.error_message,
                _ => return None,
            };
            set_once(member, reader.text_or_null()?)
        })?;
        Some(members)
    }
}
