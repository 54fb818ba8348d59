//! A graph with all that is needed to run it, and rows to run it on.

use crate::cli::exit::Failure;
use crate::infer::judge::quantise;
use crate::infer::manifest::{Encoding, Quantisation};
use crate::infer::tensor::{Bucket, Dtype, Input, Outputs, Rows, Spec};
use crate::infer::{Engine, Manifest, RunError, VariantReport};

/// A graph with all that is needed to run it.
pub(in crate::cli::model) struct Graph<'a> {
    /// Its ports.
    pub(in crate::cli::model) spec: Spec,
    /// The file.
    pub(in crate::cli::model) bytes: &'a [u8],
    /// Shapes it is loaded for.
    pub(in crate::cli::model) buckets: Vec<Bucket>,
    /// How numbers become bytes, for graphs that take bytes.
    pub(in crate::cli::model) quantisation: Option<Quantisation>,
}

/// Rows of one length as a graph takes them.
pub(in crate::cli::model) struct Block {
    items: usize,
    length: usize,
    values: Values,
}

enum Values {
    F32(Vec<f32>),
    I64(Vec<i64>),
    I8(Vec<i8>),
    U8(Vec<u8>),
}

impl<'a> Graph<'a> {
    /// A variant as the service loads it.
    pub(in crate::cli::model) fn of_variant(
        manifest: &Manifest,
        report: &VariantReport,
        bytes: &'a [u8],
    ) -> Self {
        Self { buckets: manifest.buckets(&report.batches), ..Self::of_manifest(manifest, bytes) }
    }

    /// A graph that has not been admitted, for single items.
    pub(in crate::cli::model) fn of_manifest(manifest: &Manifest, bytes: &'a [u8]) -> Self {
        let quantisation = match &manifest.input.encoding {
            Encoding::Features { quantisation, .. } => *quantisation,
            Encoding::CharNgrams { .. } | Encoding::WordGrams(_) => None,
        };
        Self { spec: manifest.spec(), bytes, buckets: manifest.buckets(&[1]), quantisation }
    }

    /// Loads it.
    pub(in crate::cli::model) fn load(&self) -> Result<Engine, Failure> {
        Engine::load(&self.spec, self.bytes, &self.buckets).map_err(|error| Failure::Config(error.into()))
    }

    /// Rows of one length as this graph takes them.
    pub(in crate::cli::model) fn block(&self, rows: &[&[f64]]) -> Block {
        let length = rows.first().map_or(0, |row| row.len());
        let all = rows.iter().flat_map(|row| row.iter().copied());
        let dtype = self.spec.inputs.first().map_or(Dtype::F32, |port| port.dtype);
        let values = match dtype {
            Dtype::F32 => Values::F32(all.map(narrow).collect()),
            Dtype::I64 => Values::I64(all.map(whole).collect()),
            Dtype::I8 => Values::I8(
                all.map(|value| i8::try_from(self.byte(value, (-128, 127))).unwrap_or(0)).collect(),
            ),
            Dtype::U8 => {
                Values::U8(all.map(|value| u8::try_from(self.byte(value, (0, 255))).unwrap_or(0)).collect())
            }
        };
        Block { items: rows.len(), length, values }
    }

    /// As the gateway makes it; without a manifest the number is the byte.
    fn byte(&self, value: f64, range: (i16, i16)) -> i16 {
        let as_it_is = Quantisation { dtype: Dtype::U8, scale: 1.0, zero: 0 };
        quantise(narrow(value), self.quantisation.unwrap_or(as_it_is), range)
    }
}

impl Block {
    /// Runs the rows in one run; every input of the graph gets them.
    pub(in crate::cli::model) fn run<'a>(&self, engine: &'a mut Engine) -> Result<&'a Outputs, RunError> {
        let rows = match &self.values {
            Values::F32(rows) => Rows::F32(rows),
            Values::I64(rows) => Rows::I64(rows),
            Values::I8(rows) => Rows::I8(rows),
            Values::U8(rows) => Rows::U8(rows),
        };
        let ports = [rows];
        engine.run(&Input { items: self.items, length: self.length, ports: &ports }, &mut || false)
    }
}

#[expect(clippy::cast_possible_truncation, reason = "inputs are f32 in decimal")]
fn narrow(value: f64) -> f32 {
    value as f32
}

#[expect(clippy::cast_possible_truncation, reason = "ids are small integers")]
fn whole(value: f64) -> i64 {
    value as i64
}
