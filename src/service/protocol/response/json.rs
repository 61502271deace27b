use super::{Members, ResultReader, is_text, set_once};

/// Parses a JSON response. Returns `None` if the response is unusual.
pub(super) fn read(response: &[u8], results: &mut ResultReader<'_>) -> Option<()> {
    let mut reader = Reader { rest: response };
    let mut has_records = false;
    reader.each(b'{', b'}', |reader| match reader.name()? {
        b"Records" => {
            // If the member is repeated, the last one takes effect.
            results.results.clear();
            has_records = true;
            reader.each(b'[', b']', |reader| {
                let members = reader.result()?;
                results.push(&members)
            })
        }
        b"FailedRecordCount" => reader.number_or_null(),
        b"EncryptionType" => is_text(reader.string_or_null()?),
        _ => None,
    })?;
    reader.space();
    (has_records && reader.rest.is_empty()).then_some(())
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn space(&mut self) {
        while let [b' ' | b'\n' | b'\r' | b'\t', rest @ ..] = self.rest {
            self.rest = rest;
        }
    }

    fn skips(&mut self, byte: u8) -> bool {
        self.space();
        let found = self.rest.first() == Some(&byte);
        if found {
            self.rest = &self.rest[1..];
        }
        found
    }

    fn skip(&mut self, byte: u8) -> Option<()> {
        self.skips(byte).then_some(())
    }

    fn each(
        &mut self,
        begin: u8,
        end: u8,
        mut read: impl FnMut(&mut Self) -> Option<()>,
    ) -> Option<()> {
        self.skip(begin)?;
        if self.skips(end) {
            return Some(());
        }
        loop {
            read(self)?;
            if self.skips(end) {
                return Some(());
            }
            self.skip(b',')?;
        }
    }

    /// Reads a string without escapes. Does not check that its bytes are valid in JSON.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.skip(b'"')?;
        let end = memchr::memchr2(b'"', b'\\', self.rest)?;
        let (string, rest) = self.rest.split_at(end);
        self.rest = rest.strip_prefix(b"\"")?;
        Some(string)
    }

    fn name(&mut self) -> Option<&'a [u8]> {
        let name = self.string()?;
        self.skip(b':')?;
        Some(name)
    }

    fn is_null(&mut self) -> bool {
        self.space();
        let rest = self.rest.strip_prefix(b"null");
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn string_or_null(&mut self) -> Option<Option<&'a [u8]>> {
        if self.is_null() { Some(None) } else { self.string().map(Some) }
    }

    fn number_or_null(&mut self) -> Option<()> {
        if self.is_null() {
            return Some(());
        }
        let digits = self.rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        let is_usual = (1..=9).contains(&digits) && (digits == 1 || number[0] != b'0');
        is_usual.then_some(())
    }

    fn result(&mut self) -> Option<Members<'a>> {
        let mut members = Members::default();
        self.each(b'{', b'}', |reader| {
            reader.space();
            let quoted = [
                (b"\"SequenceNumber\"".as_slice(), &mut members.sequence_number),
                (b"\"ShardId\"", &mut members.shard_id),
                (b"\"ErrorCode\"", &mut members.error_code),
                (b"\"ErrorMessage\"", &mut members.error_message),
            ];
            let (rest, member) = quoted
                .into_iter()
                .find_map(|(name, member)| Some((reader.rest.strip_prefix(name)?, member)))?;
            reader.rest = rest;
            reader.skip(b':')?;
            set_once(member, reader.string_or_null()?)
        })?;
        Some(members)
    }
}
