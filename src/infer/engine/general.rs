//! Runs any graph on tensors of any type and shape: what conformance with ONNX is measured with.
//!
//! # Why
//! Models of the service have inputs of shape `[items, length]`; the conformance tests of ONNX have not. They go
//! through the same steps as [`Engine`](crate::infer::engine::Engine): parsed without value info, simplified,
//! planned and run by the same functions.

use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::tract_core::ops::konst::Const;

use crate::infer::engine::interface::check_operators;
use crate::infer::engine::{EngineError, guarded, parse, planned, simplified, words};
use crate::infer::tensor::Rows;

/// A tensor of any type and shape.
#[derive(Clone)]
pub struct AnyTensor {
    tensor: Arc<Tensor>,
}

/// The numbers of a tensor, wide enough for each type ONNX has.
#[derive(Clone, Debug, PartialEq)]
pub enum Numbers {
    /// Floating point of any width.
    Real(Vec<f64>),
    /// Integers of any width, and truth values as 0 and 1.
    Whole(Vec<i128>),
    /// Strings.
    Words(Vec<String>),
}

/// How a graph gets its inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// Each is an input at run time: only its type and shape are known before.
    AtRunTime,
    /// Integers of rank 0 and 1 are constants of the graph, as shapes, axes and counts are in exported models.
    ShapesAsConstants,
}

/// A graph ready to run on tensors of the types and shapes it was loaded for.
pub struct AnyGraph {
    state: TypedSimpleState,
    /// Which inputs are given at run time.
    fed: Vec<usize>,
}

impl AnyTensor {
    /// Reads a `TensorProto` as the files of the ONNX tests hold it.
    pub fn from_proto(bytes: &[u8]) -> Result<Self, EngineError> {
        guarded(|| {
            let proto = tract_onnx::tensor::proto_from_reader(bytes).map_err(|error| failed(&error))?;
            let resolver = tract_onnx::data_resolver::MmapDataResolver;
            let tensor =
                tract_onnx::tensor::load_tensor(&resolver, &proto, None).map_err(|error| failed(&error))?;
            Ok(Self { tensor: Arc::new(tensor) })
        })
    }

    /// Of the shape, with these numbers.
    pub fn of(shape: &[usize], rows: &Rows<'_>) -> Result<Self, EngineError> {
        let tensor = match rows {
            Rows::F32(values) => Tensor::from_shape(shape, values),
            Rows::I64(values) => Tensor::from_shape(shape, values),
            Rows::I8(values) => Tensor::from_shape(shape, values),
            Rows::U8(values) => Tensor::from_shape(shape, values),
        };
        let tensor = tensor.map_err(|error| failed(&error))?;
        Ok(Self { tensor: Arc::new(tensor) })
    }

    /// Lengths of its dimensions.
    pub fn shape(&self) -> &[usize] {
        self.tensor.shape()
    }

    /// The library's name of its number type, as `F32` or `Bool`.
    pub fn dtype(&self) -> String {
        format!("{:?}", self.tensor.datum_type().unquantized())
    }

    /// Its numbers, row after row; `None` for complex ones and those of quantised blocks.
    pub fn numbers(&self) -> Option<Numbers> {
        let dtype = self.tensor.datum_type();
        if dtype.is_float() {
            return Some(Numbers::Real(self.cast::<f64>()?));
        }
        if dtype == DatumType::String {
            return Some(Numbers::Words(self.cast::<String>()?));
        }
        if dtype == DatumType::U64 {
            return Some(Numbers::Whole(self.cast::<u64>()?.into_iter().map(i128::from).collect()));
        }
        let whole = dtype == DatumType::Bool || dtype == DatumType::TDim || dtype.is_integer();
        whole
            .then(|| self.cast::<i64>())
            .flatten()
            .map(|values| Numbers::Whole(values.into_iter().map(i128::from).collect()))
    }

    fn cast<T: Datum>(&self) -> Option<Vec<T>> {
        let tensor = self.tensor.cast_to::<T>().ok()?;
        let view = tensor.try_as_plain_ram().ok()?;
        view.as_slice::<T>().ok().map(<[T]>::to_vec)
    }
}

impl AnyGraph {
    /// Parses a graph and prepares it for inputs of these types and shapes, in the order of its inputs.
    pub fn load(bytes: &[u8], inputs: &[AnyTensor], feed: Feed) -> Result<Self, EngineError> {
        Self::load_part(bytes, inputs, feed, None)
    }

    /// The same for a part of the graph: up to the tensor of that name, which becomes its only output.
    pub fn load_part(
        bytes: &[u8],
        inputs: &[AnyTensor],
        feed: Feed,
        output: Option<&str>,
    ) -> Result<Self, EngineError> {
        guarded(|| {
            let mut graph = parse(bytes)?;
            if let Some(name) = output {
                graph.select_outputs_by_name([name]).map_err(|error| failed(&error))?;
            }
            check_operators(&graph)?;
            let outlets = graph.input_outlets().map_err(|error| failed(&error))?.to_vec();
            let (mut fed, mut left) = (Vec::new(), Vec::new());
            for (index, (input, outlet)) in inputs.iter().zip(outlets).enumerate() {
                let tensor = &input.tensor;
                let whole = tensor.datum_type().is_integer() && tensor.rank() <= 1;
                let fact = InferenceFact::dt_shape(tensor.datum_type(), tensor.shape());
                graph.set_input_fact(index, fact).map_err(|error| failed(&error))?;
                if feed == Feed::ShapesAsConstants && whole {
                    graph.node_mut(outlet.node).op =
                        Box::new(Const::new(Arc::clone(tensor)).map_err(|error| failed(&error))?);
                    let known = InferenceFact::from((**tensor).clone());
                    graph.set_outlet_fact(outlet, known).map_err(|error| failed(&error))?;
                } else {
                    fed.push(index);
                    left.push(outlet);
                }
            }
            graph.set_input_outlets(&left).map_err(|error| failed(&error))?;
            let plan = planned(simplified(graph).map_err(|error| failed(&error))?)
                .map_err(|error| failed(&error))?;
            let state = plan.spawn().map_err(|error| failed(&error))?;
            Ok(Self { state, fed })
        })
    }

    /// Runs it once: one tensor per output of the graph.
    pub fn run(&mut self, inputs: &[AnyTensor]) -> Result<Vec<AnyTensor>, EngineError> {
        let given: TVec<TValue> = self
            .fed
            .iter()
            .filter_map(|index| inputs.get(*index))
            .map(|input| TValue::from_const(Arc::clone(&input.tensor)))
            .collect();
        guarded(|| {
            let values = self.state.run(given);
            let values = values.map_err(|error| failed(&error))?;
            Ok(values.into_iter().map(|value| AnyTensor { tensor: value.into_arc_tensor() }).collect())
        })
    }
}

fn failed(error: &TractError) -> EngineError {
    EngineError::General { reason: words(error) }
}
