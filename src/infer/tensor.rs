//! What goes into and comes out of an engine: plain slices and vectors, no library types.

use std::sync::Arc;

/// Number type of a tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// 32-bit floating point.
    F32,
    /// 64-bit integer: token ids, class indices.
    I64,
    /// Signed byte: quantised input.
    I8,
    /// Unsigned byte: quantised input.
    U8,
}

/// A fixed shape a plan is made for: `items` rows of `length` numbers.
///
/// Plans of a fixed shape run up to twice as fast as symbolic ones; each bucket packs the weights once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Rows: the batch.
    pub items: usize,
    /// Numbers per row: the feature count, or the ids of the words of this bucket.
    pub length: usize,
}

/// An input of the graph, shape `[items, length]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputPort {
    /// Name in the graph.
    pub name: Arc<str>,
    /// Its number type.
    pub dtype: Dtype,
}

/// An output of the graph, shape `[items, width]`, or `[items, words, numbers]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputPort {
    /// Name in the graph.
    pub name: Arc<str>,
    /// Numbers per item.
    pub width: Width,
    /// Its number type: `F32` or `I64`.
    pub dtype: Dtype,
}

/// Numbers of an output per item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Always so many.
    Fixed(usize),
    /// So many for each word of the input row.
    PerWord {
        /// Numbers of the row that belong to one word.
        ids: usize,
        /// Numbers of the output for it.
        numbers: usize,
    },
}

/// Everything an engine must know of a graph before it opens it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spec {
    /// Inputs the graph has: exactly these.
    pub inputs: Vec<InputPort>,
    /// Outputs that are wanted: the graph may have more, they are not computed.
    pub outputs: Vec<OutputPort>,
}

/// Rows of one input, row after row.
#[derive(Clone, Copy)]
pub enum Rows<'a> {
    /// For an `F32` port.
    F32(&'a [f32]),
    /// For an `I64` port.
    I64(&'a [i64]),
    /// For an `I8` port.
    I8(&'a [i8]),
    /// For a `U8` port.
    U8(&'a [u8]),
}

/// One call's input: `items` rows of `length` numbers for each port, in the order of [`Spec::inputs`].
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// Rows.
    pub items: usize,
    /// Numbers per row.
    pub length: usize,
    /// One entry per port.
    pub ports: &'a [Rows<'a>],
}

/// The values of one output, row after row.
#[derive(Clone, PartialEq)]
#[cfg_attr(test, derive(Debug))]
pub enum Column {
    /// Floating point.
    F32(Vec<f32>),
    /// Integers.
    I64(Vec<i64>),
}

/// The values of every wanted output, in the order of [`Spec::outputs`], each with its width. Reused from run to run.
#[derive(Clone, Default)]
pub struct Outputs {
    pub(crate) columns: Vec<(usize, Column)>,
}

impl Width {
    /// For a row of a length.
    pub fn at(self, length: usize) -> usize {
        match self {
            Self::Fixed(width) => width,
            Self::PerWord { ids, numbers } => (length / ids.max(1)).saturating_mul(numbers),
        }
    }
}

impl Dtype {
    /// The word used in manifests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::I64 => "i64",
            Self::I8 => "i8",
            Self::U8 => "u8",
        }
    }
}

impl Rows<'_> {
    /// Numbers in all rows.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(rows) => rows.len(),
            Self::I64(rows) => rows.len(),
            Self::I8(rows) => rows.len(),
            Self::U8(rows) => rows.len(),
        }
    }

    /// Whether there is not one number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The type of the port they fit.
    pub fn dtype(&self) -> Dtype {
        match self {
            Self::F32(_) => Dtype::F32,
            Self::I64(_) => Dtype::I64,
            Self::I8(_) => Dtype::I8,
            Self::U8(_) => Dtype::U8,
        }
    }
}

impl Outputs {
    /// Empty columns of the right kinds. Their widths are those of the last run.
    pub fn for_spec(spec: &Spec) -> Self {
        let column = |dtype| match dtype {
            Dtype::I64 => Column::I64(Vec::new()),
            Dtype::F32 | Dtype::I8 | Dtype::U8 => Column::F32(Vec::new()),
        };
        Self { columns: spec.outputs.iter().map(|port| (0, column(port.dtype))).collect() }
    }

    /// The floating-point values of an item at an output; `None` if there is no such item or it holds integers.
    pub fn f32(&self, output: usize, item: usize) -> Option<&[f32]> {
        match self.columns.get(output)? {
            (width, Column::F32(values)) => values.get(item * width..(item + 1) * width),
            (_, Column::I64(_)) => None,
        }
    }

    /// The integers of an item at an output; `None` if there is no such item or it holds floating point.
    pub fn i64(&self, output: usize, item: usize) -> Option<&[i64]> {
        match self.columns.get(output)? {
            (width, Column::I64(values)) => values.get(item * width..(item + 1) * width),
            (_, Column::F32(_)) => None,
        }
    }
}
