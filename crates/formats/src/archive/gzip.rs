//! The members of a gzip as one stream.

use flate2::bufread::GzDecoder;
use std::io::{BufRead, Error, ErrorKind, Read, Result};

/// Reads all members of a gzip. Zeros between and after them are padding, as for gzip(1). Every read after an error
/// fails the same way.
pub(super) struct Members<R> {
    member: Option<GzDecoder<R>>,
    failed: Option<(ErrorKind, String)>,
}

impl<R: BufRead> Members<R> {
    pub(super) fn new(reader: R) -> Members<R> {
        Members { member: Some(GzDecoder::new(reader)), failed: None }
    }

    fn read_members(&mut self, buffer: &mut [u8]) -> Result<usize> {
        while let Some(member) = &mut self.member {
            let count = member.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let Some(mut reader) = self.member.take().map(GzDecoder::into_inner) else { break };
            if skip_zeros(&mut reader)? {
                self.member = Some(GzDecoder::new(reader));
            }
        }
        Ok(0)
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if let Some((kind, why)) = &self.failed {
            return Err(Error::new(*kind, why.clone()));
        }
        self.read_members(buffer).map_err(|why| {
            if why.kind() == ErrorKind::Interrupted {
                return why;
            }
            let text = match why.to_string() {
                text if text.contains("matching checksum") => {
                    "the gzip's checksum is wrong, so a file before it may be damaged".into()
                }
                text => text,
            };
            self.failed = Some((why.kind(), text.clone()));
            Error::new(why.kind(), text)
        })
    }
}

/// Whether more than zeros follows.
fn skip_zeros(reader: &mut impl BufRead) -> Result<bool> {
    loop {
        let bytes = reader.fill_buf()?;
        if bytes.is_empty() {
            return Ok(false);
        }
        let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
        let is_more = zeros < bytes.len();
        reader.consume(zeros);
        if is_more {
            return Ok(true);
        }
    }
}
