//! Counts what a graph is made of before the library reads it, from the bytes of the file alone.
//!
//! # Invariants
//! Recursion is bounded by [`OutlineLimits::depth`]. What is no protocol buffer is left to the library, which says why.
//!
//! # Why
//! Nested names of lengths overflow the library's stack, and the time it takes to simplify a graph grows faster than
//! the graph: a file of a few megabytes can hold the start of the service up for all the time the child may take. The
//! child's limits hold either way; these give the reason in the model's own terms, at once.

/// How much of everything a graph may have. The `MiniLM` in int8, the largest one we know to run here, has 647 nodes and
/// constants, 5 tensors at a node and names of 51 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutlineLimits {
    /// Nodes and constants, of all graphs in one another. Twenty thousand take 4.4 s to simplify on a desktop machine,
    /// forty times as long on a Cortex-A53.
    pub parts: u64,
    /// Graphs in one another: branches and loop bodies.
    pub depth: u64,
    /// Inputs and outputs of one node.
    pub tensors: u64,
    /// Bytes of one name, of a length or an operator, or of one text attribute.
    pub text: u64,
    /// Dimensions of one tensor.
    pub rank: u64,
    /// Numbers in one attribute.
    pub numbers: u64,
}

/// What a graph has too much of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it has {found} {what}, allowed are {limit}: use a smaller network")]
pub struct Excess {
    /// Of what.
    pub what: &'static str,
    /// As found.
    pub found: u64,
    /// At most.
    pub limit: u64,
}

impl Default for OutlineLimits {
    fn default() -> Self {
        Self { parts: 4096, depth: 8, tensors: 512, text: 1024, rank: 16, numbers: 4096 }
    }
}

/// The messages of ONNX that matter here.
#[derive(Clone, Copy)]
enum Kind {
    Model,
    Graph,
    Function,
    Node,
    Attribute,
    Tensor,
    ValueInfo,
    Type,
    TensorType,
    Shape,
    Dimension,
}

/// What stands in a field of a message.
enum Field {
    Inside(Kind),
    /// A node or a constant: counted, then looked into.
    Part(Kind),
    /// A graph in a node.
    Subgraph,
    Text,
    /// An input or an output of a node.
    TensorName,
    /// Lengths of dimensions, one or several packed.
    Lengths,
    /// Lengths of dimensions, a message each.
    Axis,
    Numbers,
    /// Weights, documentation, and what readers skip.
    Ignored,
}

impl OutlineLimits {
    /// Compares a file with the limits: to be done before anything else looks into it.
    ///
    /// # Errors
    /// The first thing the graph has too much of.
    pub fn check(&self, bytes: &[u8]) -> Result<(), Excess> {
        let mut parts = 0;
        Scan { limits: self, parts: &mut parts }.message(Kind::Model, bytes, 0)
    }
}

struct Scan<'a> {
    limits: &'a OutlineLimits,
    parts: &'a mut u64,
}

impl Scan<'_> {
    /// Looks through one message; `depth` counts the graphs around it.
    fn message(&mut self, kind: Kind, bytes: &[u8], depth: u64) -> Result<(), Excess> {
        let (mut tensors, mut rank, mut numbers) = (0, 0, 0);
        let mut rest = bytes;
        while let Some((number, value)) = next(&mut rest) {
            let inside = value.unwrap_or(&[]);
            // A number that stands alone is one; packed ones end where the high bit is clear, or are four bytes each.
            let several = value.map_or(1, |packed| packed.iter().filter(|byte| **byte < 0x80).count() as u64);
            match field(kind, number) {
                Field::Inside(kind) => self.message(kind, inside, depth)?,
                Field::Part(kind) => {
                    *self.parts += 1;
                    within("nodes and constants", *self.parts, self.limits.parts)?;
                    self.message(kind, inside, depth)?;
                }
                Field::Subgraph => {
                    within("graphs in one another", depth + 1, self.limits.depth)?;
                    self.message(Kind::Graph, inside, depth + 1)?;
                }
                Field::Text => within("bytes in one name or text", inside.len() as u64, self.limits.text)?,
                Field::TensorName => {
                    within("bytes in one name or text", inside.len() as u64, self.limits.text)?;
                    tensors += 1;
                    within("inputs and outputs of one node", tensors, self.limits.tensors)?;
                }
                Field::Lengths => {
                    rank += several;
                    within("dimensions of one tensor", rank, self.limits.rank)?;
                }
                Field::Axis => {
                    rank += 1;
                    within("dimensions of one tensor", rank, self.limits.rank)?;
                    self.message(Kind::Dimension, inside, depth)?;
                }
                Field::Numbers => {
                    numbers += several;
                    within("numbers in one attribute", numbers, self.limits.numbers)?;
                }
                Field::Ignored => {}
            }
        }
        Ok(())
    }
}

fn within(what: &'static str, found: u64, limit: u64) -> Result<(), Excess> {
    if found <= limit { Ok(()) } else { Err(Excess { what, found, limit }) }
}

/// What a field of a message is, by the numbers of `onnx.proto`.
fn field(kind: Kind, number: u64) -> Field {
    match (kind, number) {
        (Kind::Model, 7) => Field::Inside(Kind::Graph),
        (Kind::Model, 25) => Field::Inside(Kind::Function),
        (Kind::Graph, 1) | (Kind::Function, 7) => Field::Part(Kind::Node),
        (Kind::Graph, 5) => Field::Part(Kind::Tensor),
        (Kind::Graph, 11..=13) => Field::Part(Kind::ValueInfo),
        (Kind::Node, 1 | 2) => Field::TensorName,
        (Kind::Node, 5) => Field::Inside(Kind::Attribute),
        (Kind::Attribute, 6 | 11) => Field::Subgraph,
        (Kind::Attribute, 5 | 10) => Field::Inside(Kind::Tensor),
        (Kind::Attribute, 7 | 8) => Field::Numbers,
        (Kind::ValueInfo, 2) => Field::Inside(Kind::Type),
        (Kind::Type, 1 | 8) => Field::Inside(Kind::TensorType),
        (Kind::TensorType, 2) => Field::Inside(Kind::Shape),
        (Kind::Shape, 1) => Field::Axis,
        (Kind::Tensor, 1) => Field::Lengths,
        (Kind::Graph, 2)
        | (Kind::Node, 3 | 4 | 7)
        | (Kind::Attribute, 1 | 4 | 9)
        | (Kind::Tensor, 8)
        | (Kind::ValueInfo, 1)
        | (Kind::Dimension, 2 | 3) => Field::Text,
        (
            Kind::Model
            | Kind::Graph
            | Kind::Function
            | Kind::Node
            | Kind::Attribute
            | Kind::Tensor
            | Kind::ValueInfo
            | Kind::Type
            | Kind::TensorType
            | Kind::Shape
            | Kind::Dimension,
            _,
        ) => Field::Ignored,
    }
}

/// The next field: its number, and its bytes if it has a length. `None` at the end and where it is no field.
fn next<'a>(rest: &mut &'a [u8]) -> Option<(u64, Option<&'a [u8]>)> {
    let tag = varint(rest)?;
    let fixed = |rest: &mut &'a [u8], count| rest.split_off(..count).map(|_| None);
    let value = match tag & 7 {
        0 => varint(rest).map(|_| None)?,
        1 => fixed(rest, 8)?,
        2 => {
            let length = usize::try_from(varint(rest)?).ok()?;
            Some(rest.split_off(..length)?)
        }
        5 => fixed(rest, 4)?,
        _ => return None,
    };
    Some((tag >> 3, value))
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let byte = *rest.split_off_first()?;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENSE: &[u8] = include_bytes!("../../../tests/golden/models/dense-pair/model.onnx");
    const DEEP: &[u8] = include_bytes!("../../../tests/golden/models/deep-dimension/model.onnx");

    fn excess(bytes: &[u8], limits: &OutlineLimits) -> Option<Excess> {
        limits.check(bytes).err()
    }

    #[test]
    fn every_limit_is_reached_by_one_part_more_and_not_before() {
        let default = OutlineLimits::default;
        assert_eq!(excess(DENSE, &default()), None);
        // Four nodes, six constants, one input, two outputs.
        for (limits, found) in [
            (OutlineLimits { parts: 13, ..default() }, None),
            (OutlineLimits { parts: 12, ..default() }, Some("nodes and constants")),
            (OutlineLimits { tensors: 4, ..default() }, None),
            (OutlineLimits { tensors: 3, ..default() }, Some("inputs and outputs of one node")),
            (OutlineLimits { text: 8, ..default() }, None),
            (OutlineLimits { text: 7, ..default() }, Some("bytes in one name or text")),
            (OutlineLimits { rank: 2, ..default() }, None),
            (OutlineLimits { rank: 1, ..default() }, Some("dimensions of one tensor")),
        ] {
            assert_eq!(excess(DENSE, &limits).map(|excess| excess.what), found, "{limits:?}");
        }
        let deep = Excess { what: "bytes in one name or text", found: 28_000, limit: 1024 };
        assert_eq!(excess(DEEP, &default()), Some(deep));
    }

    #[test]
    fn bytes_that_are_no_graph_are_left_to_the_library() {
        for bytes in [&[][..], &[0xff; 100], &[0x3a, 0xff], &[0x3b; 100], &DENSE[..DENSE.len() / 2]] {
            assert_eq!(excess(bytes, &OutlineLimits::default()), None);
        }
    }
}
