//! 32-bit FNV-1a (draft-eastlake-fnv, section 5).

/// Hash of nothing.
pub(in crate::text) const FNV_START: u32 = 0x811c_9dc5;
const FNV_FACTOR: u32 = 0x0100_0193;

/// The hash of what gave `hash`, followed by `bytes`.
pub(in crate::text) fn follow(hash: u32, bytes: &[u8]) -> u32 {
    bytes.iter().fold(hash, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(FNV_FACTOR))
}

/// The hash of what gave `hash`, followed by the UTF-8 bytes of `character`.
pub(in crate::text) fn follow_char(hash: u32, character: char) -> u32 {
    follow(hash, character.encode_utf8(&mut [0; 4]).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_published() {
        for (text, hash) in [("", 0x811c_9dc5), ("a", 0xe40c_292c), ("foobar", 0xbf9c_f968_u32)] {
            assert_eq!(follow(FNV_START, text.as_bytes()), hash, "{text}");
            assert_eq!(text.chars().fold(FNV_START, follow_char), hash, "{text}");
        }
    }
}
