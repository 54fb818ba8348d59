//! Reads the archives of the conformance data: tar, zip with deflate, npy. What is damaged makes the test panic.

use std::collections::BTreeMap;

/// The files of a tar archive by path.
pub(crate) fn tar(bytes: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    let mut rest = bytes;
    while rest.len() >= 512 && rest[0] != 0 {
        let text = |range: std::ops::Range<usize>| {
            let field = rest[range].split(|byte| *byte == 0).next().unwrap();
            String::from_utf8(field.to_vec()).unwrap()
        };
        let size = usize::from_str_radix(text(124..136).trim(), 8).unwrap();
        let name = match text(345..500) {
            prefix if prefix.is_empty() => text(0..100),
            prefix => format!("{prefix}/{}", text(0..100)),
        };
        if matches!(rest[156], b'0' | 0) {
            files.insert(name, rest[512..512 + size].to_vec());
        }
        rest = &rest[(512 + size.next_multiple_of(512)).min(rest.len())..];
    }
    files
}

/// An array of numpy.
pub(crate) struct Npy {
    /// As `|i1` or `<f4`.
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
    pub(crate) bytes: Vec<u8>,
}

/// The arrays of an `.npz` file by name.
pub(crate) fn npz(bytes: &[u8]) -> BTreeMap<String, Npy> {
    let u16_at = |at: usize| usize::from(u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap()));
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    // The directory at the end has the sizes; the end record is the last thing, without a comment.
    let end = bytes.len() - 22;
    let (count, mut at) = (u16_at(end + 10), u32_at(end + 16));
    let mut arrays = BTreeMap::new();
    for _ in 0..count {
        let (method, packed, local) = (u16_at(at + 10), u32_at(at + 20), u32_at(at + 42));
        let name_length = u16_at(at + 28);
        let name = String::from_utf8(bytes[at + 46..at + 46 + name_length].to_vec()).unwrap();
        at += 46 + name_length + u16_at(at + 30) + u16_at(at + 32);
        let start = local + 30 + u16_at(local + 26) + u16_at(local + 28);
        let data = &bytes[start..start + packed];
        let data = if method == 8 { inflate(data) } else { data.to_vec() };
        arrays.insert(name.trim_end_matches(".npy").to_owned(), npy(&data));
    }
    arrays
}

fn npy(bytes: &[u8]) -> Npy {
    assert_eq!(&bytes[..7], b"\x93NUMPY\x01");
    let start = 10 + usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let head = std::str::from_utf8(&bytes[10..start]).unwrap();
    assert!(head.contains("'fortran_order': False"), "{head}");
    let between = |from: &str, to: char| head.split(from).nth(1).unwrap().split(to).next().unwrap();
    let dims = between("'shape': (", ')').split(',').map(str::trim).filter(|dim| !dim.is_empty());
    Npy {
        dtype: between("'descr': '", '\'').to_owned(),
        shape: dims.map(|dim| dim.parse().unwrap()).collect(),
        bytes: bytes[start..].to_vec(),
    }
}

struct Bits<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Bits<'_> {
    fn one(&mut self) -> usize {
        let bit = self.bytes[self.at / 8] >> (self.at % 8) & 1;
        self.at += 1;
        usize::from(bit)
    }

    fn take(&mut self, count: usize) -> usize {
        (0..count).fold(0, |number, bit| number | self.one() << bit)
    }

    /// The next symbol of a canonical Huffman code.
    fn symbol(&mut self, code: &Huffman) -> usize {
        let (mut value, mut first, mut index) = (0, 0, 0);
        for count in &code.counts {
            value |= self.one();
            if value < first + count {
                return code.symbols[index + value - first];
            }
            index += count;
            first = (first + count) << 1;
            value <<= 1;
        }
        panic!("a code that no symbol has")
    }
}

/// Symbols in the order of their codes, and how many codes there are of each length from 1.
struct Huffman {
    counts: Vec<usize>,
    symbols: Vec<usize>,
}

impl Huffman {
    fn of(lengths: &[usize]) -> Self {
        let count = |length| lengths.iter().filter(|other| **other == length).count();
        let of_length = |length| (0..lengths.len()).filter(move |symbol| lengths[*symbol] == length);
        Self { counts: (1..16).map(count).collect(), symbols: (1..16).flat_map(of_length).collect() }
    }
}

const LENGTH_BASE: [usize; 29] = [
    3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195,
    227, 258,
];
const CODE_LENGTH_ORDER: [usize; 19] = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];

/// RFC 1951.
fn inflate(bytes: &[u8]) -> Vec<u8> {
    let (mut bits, mut out) = (Bits { bytes, at: 0 }, Vec::new());
    loop {
        let last = bits.one() == 1;
        match bits.take(2) {
            0 => {
                let start = bits.at.div_ceil(8);
                let length = usize::from(u16::from_le_bytes([bytes[start], bytes[start + 1]]));
                out.extend_from_slice(&bytes[start + 4..start + 4 + length]);
                bits.at = (start + 4 + length) * 8;
            }
            1 => {
                let literals: Vec<usize> = [(144, 8), (112, 9), (24, 7), (8, 8)]
                    .into_iter()
                    .flat_map(|(count, length)| std::iter::repeat_n(length, count))
                    .collect();
                block(&mut bits, &Huffman::of(&literals), &Huffman::of(&[5; 30]), &mut out);
            }
            2 => {
                let (literals, distances) = codes(&mut bits);
                block(&mut bits, &literals, &distances, &mut out);
            }
            kind => panic!("a deflate block of type {kind}"),
        }
        if last {
            return out;
        }
    }
}

fn codes(bits: &mut Bits<'_>) -> (Huffman, Huffman) {
    let (literals, distances, count) = (bits.take(5) + 257, bits.take(5) + 1, bits.take(4) + 4);
    let mut lengths = [0; 19];
    for place in CODE_LENGTH_ORDER.into_iter().take(count) {
        lengths[place] = bits.take(3);
    }
    let code = Huffman::of(&lengths);
    let mut lengths: Vec<usize> = Vec::new();
    while lengths.len() < literals + distances {
        let (length, times) = match bits.symbol(&code) {
            16 => (*lengths.last().unwrap(), 3 + bits.take(2)),
            17 => (0, 3 + bits.take(3)),
            18 => (0, 11 + bits.take(7)),
            length => (length, 1),
        };
        lengths.extend(std::iter::repeat_n(length, times));
    }
    (Huffman::of(&lengths[..literals]), Huffman::of(&lengths[literals..]))
}

fn block(bits: &mut Bits<'_>, literals: &Huffman, distances: &Huffman, out: &mut Vec<u8>) {
    loop {
        let symbol = bits.symbol(literals);
        if symbol < 256 {
            out.push(u8::try_from(symbol).unwrap());
            continue;
        }
        if symbol == 256 {
            return;
        }
        let code = symbol - 257;
        let extra = if (8..28).contains(&code) { code / 4 - 1 } else { 0 };
        let length = LENGTH_BASE[code] + bits.take(extra);
        let code = bits.symbol(distances);
        let extra = (code / 2).saturating_sub(1);
        let base = if code < 4 { code + 1 } else { ((2 + code % 2) << extra) + 1 };
        let from = out.len() - base - bits.take(extra);
        for at in from..from + length {
            out.push(out[at]);
        }
    }
}
