//! Compression as gzip (RFC 1952): of a whole file, or of parts that were compressed before. Only a
//! small part of the page differs between answers; the rest is compressed once.

use axum::body::Bytes;
use flate2::{Compress, Compression, Crc, FlushCompress, Status};

/// The header of a gzip member: deflate, no name, no time, best compression, unknown system.
const HEAD: [u8; 10] = [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff];
/// Maximum overhead of a part that cannot be compressed.
const OVERHEAD: usize = 64;

/// A compressed part of a text, which can be combined with parts before and after it.
pub struct Part {
    /// The plain text.
    pub plain: Bytes,
    deflated: Vec<u8>,
    crc: Crc,
}

impl Part {
    /// A part that others follow.
    pub fn new(plain: Bytes) -> Self {
        Self::ending_with(plain, FlushCompress::Sync)
    }

    /// The last part.
    pub fn last(plain: Bytes) -> Self {
        Self::ending_with(plain, FlushCompress::Finish)
    }

    fn ending_with(plain: Bytes, end: FlushCompress) -> Self {
        let mut crc = Crc::new();
        crc.update(&plain);
        Self { deflated: deflate(&plain, end), crc, plain }
    }
}

/// Combines parts into one gzip text; the last one ends it.
pub fn join(parts: &[&Part]) -> Bytes {
    let mut crc = Crc::new();
    let mut packed = HEAD.to_vec();
    for part in parts {
        packed.extend(&part.deflated);
        crc.combine(&part.crc);
    }
    packed.extend(crc.sum().to_le_bytes());
    packed.extend(crc.amount().to_le_bytes());
    packed.into()
}

/// The whole text as one part.
pub fn pack(bytes: &Bytes) -> Bytes {
    join(&[&Part::last(bytes.clone())])
}

fn deflate(bytes: &[u8], end: FlushCompress) -> Vec<u8> {
    let mut state = Compress::new(Compression::best(), false);
    let mut deflated = Vec::with_capacity(bytes.len() + OVERHEAD);
    loop {
        let taken = usize::try_from(state.total_in()).unwrap_or(usize::MAX);
        let status = state.compress_vec(&bytes[taken..], &mut deflated, end);
        // Neither fails while there is space; a flush is complete if it leaves some.
        let is_over = status.is_ok_and(|status| status == Status::StreamEnd)
            || end == FlushCompress::Sync && deflated.len() < deflated.capacity();
        if is_over {
            return deflated;
        }
        deflated.reserve(bytes.len() / 2 + OVERHEAD);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;

    use super::*;

    fn unpacked(packed: &[u8]) -> Vec<u8> {
        let mut unpacked = Vec::new();
        // There must be only one member: the decoder ignores what follows the first.
        GzDecoder::new(packed).read_to_end(&mut unpacked).unwrap();
        unpacked
    }

    #[test]
    fn parts_are_one_text_again_whatever_is_in_them() {
        let noise: Vec<u8> =
            (0..70_000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let texts: [&[u8]; 5] = [b"", b"a", b"<meta content=\"a\">\n", &[b'x'; 200_000], &noise];
        for first in texts {
            for second in texts {
                for last in texts {
                    let part = |text: &[u8]| Part::new(Bytes::copy_from_slice(text));
                    let end = Part::last(Bytes::copy_from_slice(last));
                    let packed = join(&[&part(first), &part(second), &end]);
                    assert!(unpacked(&packed) == [first, second, last].concat());
                }
            }
        }
    }

    #[test]
    fn a_file_is_packed_as_a_whole() {
        let text = Bytes::from_static(&[b'x'; 10_000]);
        let packed = pack(&text);
        assert!(packed.len() < 100 && unpacked(&packed) == text);
    }
}
