//! Frames read as `docs/wire.md` says, without the program's own reader: any Zstandard library can do this.

/// The dictionary that is numbered 1.
pub(crate) const DICTIONARY: &[u8] = include_bytes!("../../src/wire/dictionary-1.zdict");

/// How every Zstandard frame begins; batches leave it out.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// The body of a batch of version 2 as it was before compression.
pub(crate) fn body(frame: &[u8]) -> Vec<u8> {
    assert_eq!(&frame[..3], b"TG\x02");
    let (length, after) = number(frame, 4);
    let (stored, after) = number(frame, after);
    let stored = &frame[after + 4..after + 4 + stored];
    match frame[3] {
        0 => stored.to_vec(),
        1 => {
            let mut decompressor = zstd::bulk::Decompressor::with_dictionary(DICTIONARY).unwrap();
            decompressor.decompress(&[&ZSTD_MAGIC, stored].concat(), length).unwrap()
        }
        coding => panic!("coding {coding}"),
    }
}

fn number(bytes: &[u8], at: usize) -> (usize, usize) {
    let end = at + bytes[at..].iter().position(|byte| byte & 0x80 == 0).unwrap();
    let digits = bytes[at..=end].iter().rev();
    (digits.fold(0, |number, byte| number << 7 | usize::from(byte & 0x7f)), end + 1)
}
