//! What a graph file declares, read without building it: inputs, outputs, operators.
//!
//! # Why
//! A graph with an operator the library lacks fails late and in the library's words. Here it is named at once.

use std::collections::BTreeMap;

use tract_onnx::pb::tensor_proto::DataType;
use tract_onnx::pb::tensor_shape_proto::dimension::Value as Dimension;
use tract_onnx::pb::type_proto::Value as TypeValue;
use tract_onnx::pb::{GraphProto, ValueInfoProto};
use tract_onnx::prelude::*;

use crate::infer::engine::{EngineError, datum, guarded, prepare_error, simplified, words};
use crate::infer::tensor::{Bucket, Dtype, InputPort, OutputPort, Spec, Width};

/// What a graph file declares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survey {
    /// Version of the operator set; 0 if it names none.
    pub opset: i64,
    /// What has to be fed: graph inputs that are no weights.
    pub inputs: Vec<Declared>,
    /// What comes out.
    pub outputs: Vec<Declared>,
    /// Operators by name, those of inner graphs included.
    pub operators: BTreeMap<String, Operator>,
}

/// An input or output as a graph declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Declared {
    /// Its name.
    pub name: String,
    /// Its number type; `None` for one the gateway does not feed or read.
    pub dtype: Option<Dtype>,
    /// Its number type in the words of ONNX.
    pub type_name: &'static str,
    /// Its dimensions; `None` where one is left open.
    pub shape: Vec<Option<usize>>,
}

/// One kind of node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Operator {
    /// Nodes of this kind.
    pub count: usize,
    /// Whether the engine has it.
    pub supported: bool,
}

impl Survey {
    /// Reads the declarations of a graph.
    pub fn read(bytes: &[u8]) -> Result<Self, EngineError> {
        guarded(|| {
            let parse_error = |error: TractError| EngineError::Parse { reason: words(&error) };
            let library = onnx();
            let model = library.proto_model_for_read(&mut &*bytes).map_err(parse_error)?;
            let nothing = || EngineError::Parse { reason: "there is no graph in the file".to_owned() };
            let graph = model.graph.as_ref().ok_or_else(nothing)?;
            let default = |domain: &str| domain.is_empty() || domain == "ai.onnx";
            let opset = model.opset_import.iter().find(|import| default(&import.domain));
            let mut operators = BTreeMap::new();
            count(graph, &library, &mut operators);
            let weight =
                |input: &&ValueInfoProto| graph.initializer.iter().any(|tensor| tensor.name == input.name);
            Ok(Self {
                opset: opset.map_or(0, |import| import.version),
                inputs: graph.input.iter().filter(|input| !weight(input)).map(declared).collect(),
                outputs: graph.output.iter().map(declared).collect(),
                operators,
            })
        })
    }

    /// Operators the engine lacks, with the number of nodes.
    pub fn unsupported(&self) -> impl Iterator<Item = (&str, usize)> {
        let lacking = self.operators.iter().filter(|(_, operator)| !operator.supported);
        lacking.map(|(name, operator)| (name.as_str(), operator.count))
    }
}

/// What a graph takes and gives at one shape, by its own account: for graphs without a manifest.
///
/// All inputs get the shape of the bucket.
pub fn spec_at(bytes: &[u8], survey: &Survey, bucket: Bucket) -> Result<Spec, EngineError> {
    guarded(|| {
        let interface = |reason: String| EngineError::Interface { reason };
        let failed = |error: TractError| prepare_error(bucket, &error);
        let mut graph = onnx().with_ignore_value_info(true).model_for_read(&mut &*bytes).map_err(failed)?;
        let mut spec = Spec { inputs: Vec::new(), outputs: Vec::new() };
        for (index, input) in survey.inputs.iter().enumerate() {
            let wrong =
                || interface(format!("input {:?} is {}, which is not fed", input.name, input.type_name));
            let dtype = input.dtype.ok_or_else(wrong)?;
            let fact = InferenceFact::dt_shape(datum(dtype), [bucket.items, bucket.length]);
            graph.set_input_fact(index, fact).map_err(failed)?;
            spec.inputs.push(InputPort { name: input.name.as_str().into(), dtype });
        }
        let typed = simplified(graph).map_err(failed)?;
        for (index, output) in survey.outputs.iter().enumerate() {
            let fact = typed.output_fact(index).map_err(failed)?;
            let name = &output.name;
            let dtype = if fact.datum_type == DatumType::F32 {
                Dtype::F32
            } else if fact.datum_type == DatumType::I64 {
                Dtype::I64
            } else {
                let found = fact.datum_type;
                return Err(interface(format!("output {name:?} is {found:?}, f32 is needed")));
            };
            let shape = fact.shape.as_concrete().unwrap_or(&[]);
            if shape.first() != Some(&bucket.items) {
                let shape = &fact.shape;
                return Err(interface(format!("output {name:?} has shape {shape:?}, [items, …] is needed")));
            }
            let width = match *shape {
                // A row of ids for each word, and numbers for each word.
                [_, words, numbers] if words > 0 && bucket.length.is_multiple_of(words) => {
                    Width::PerWord { ids: bucket.length / words, numbers }
                }
                _ => Width::Fixed(shape.iter().skip(1).product()),
            };
            spec.outputs.push(OutputPort { name: name.as_str().into(), width, dtype });
        }
        Ok(spec)
    })
}

/// Counts the nodes of a graph and of the graphs within it. The depth is bounded by the decoder of the file.
fn count(graph: &GraphProto, library: &tract_onnx::Onnx, into: &mut BTreeMap<String, Operator>) {
    for node in &graph.node {
        let operator = into.entry(node.op_type.clone()).or_default();
        operator.count += 1;
        operator.supported = library.op_register.0.contains_key(&node.op_type);
        for attribute in &node.attribute {
            attribute.g.iter().chain(&attribute.graphs).for_each(|inner| count(inner, library, into));
        }
    }
}

fn declared(port: &ValueInfoProto) -> Declared {
    let tensor = port.r#type.as_ref().and_then(|kind| kind.value.as_ref());
    let tensor = tensor.map(|TypeValue::TensorType(tensor)| tensor);
    let kind = tensor.and_then(|tensor| DataType::try_from(tensor.elem_type).ok());
    let dtype = match kind {
        Some(DataType::Float) => Some(Dtype::F32),
        Some(DataType::Int64) => Some(Dtype::I64),
        Some(DataType::Int8) => Some(Dtype::I8),
        Some(DataType::Uint8) => Some(Dtype::U8),
        // A number type of the format, not one of ours.
        Some(_) | None => None,
    };
    let dims = tensor.and_then(|tensor| tensor.shape.as_ref()).map_or(&[][..], |shape| &shape.dim);
    let dim = |value: Option<&Dimension>| match value {
        Some(Dimension::DimValue(value)) => usize::try_from(*value).ok().filter(|value| *value > 0),
        Some(Dimension::DimParam(_)) | None => None,
    };
    Declared {
        name: port.name.clone(),
        dtype,
        type_name: kind.map_or("no tensor", |kind| kind.as_str_name()),
        shape: dims.iter().map(|found| dim(found.value.as_ref())).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::Engine;

    const DENSE: &[u8] = include_bytes!("../../../tests/golden/models/dense-pair/model.onnx");
    const TRUNCATED: &[u8] = include_bytes!("../../../tests/golden/models/truncated/model.onnx");

    #[test]
    fn a_survey_names_ports_and_counts_operators() {
        let survey = Survey::read(DENSE).unwrap();
        assert_eq!(survey.inputs.len(), 1);
        let input = survey.inputs.first().unwrap();
        assert_eq!((input.name.as_str(), input.dtype), ("features", Some(Dtype::F32)));
        assert_eq!(input.shape.last(), Some(&Some(4)));
        assert!(survey.operators.values().all(|operator| operator.supported && operator.count > 0));
        assert!(survey.unsupported().next().is_none());
        assert!(matches!(Survey::read(TRUNCATED), Err(EngineError::Parse { .. })));
        assert!(matches!(Survey::read(b""), Err(EngineError::Parse { .. })));
    }

    #[test]
    fn a_graph_without_a_manifest_can_be_loaded_by_its_own_account() {
        let survey = Survey::read(DENSE).unwrap();
        let bucket = Bucket { items: 1, length: 4 };
        let spec = spec_at(DENSE, &survey, bucket).unwrap();
        let widths: Vec<usize> = spec.outputs.iter().map(|port| port.width.at(4)).collect();
        assert_eq!(widths, [3, 2]);
        assert!(Engine::load(&spec, DENSE, &[bucket]).is_ok());
        assert!(spec_at(DENSE, &survey, Bucket { items: 1, length: 5 }).is_err(), "five are not four");
    }
}
