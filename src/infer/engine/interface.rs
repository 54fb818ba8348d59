//! Compares a graph with what the manifest says of it: inputs, outputs, types, shapes; and operators with the library.

use std::collections::BTreeSet;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::infer::Factoid as _;

use crate::infer::engine::{EngineError, datum, words};
use crate::infer::tensor::{Bucket, Dtype, InputPort, OutputPort, Spec};

/// Operators that are named of those a graph needs in vain, and characters of each: a line of a log.
const OPERATORS_MAX: usize = 16;
const OPERATOR_CHARS: usize = 40;

/// Finds the port of each graph input and compares type and shape.
pub(crate) fn match_inputs(graph: &InferenceModel, spec: &Spec) -> Result<Vec<usize>, EngineError> {
    let interface = |reason: String| EngineError::Interface { reason };
    let outlets = graph.input_outlets().map_err(|error| interface(words(&error)))?;
    let mut order = Vec::new();
    for outlet in outlets {
        let name = graph.node(outlet.node).name.as_str();
        let Some(index) = spec.inputs.iter().position(|port| *port.name == *name) else {
            return Err(interface(format!("the graph has an input {name:?} the manifest does not name")));
        };
        let fact = graph.outlet_fact(*outlet).map_err(|error| interface(words(&error)))?;
        let wanted = spec.inputs.get(index).map_or(Dtype::F32, |port| port.dtype);
        if let Some(found) = fact.datum_type.concretize().filter(|found| *found != datum(wanted)) {
            let wanted = wanted.as_str();
            return Err(interface(format!("input {name:?} is {found:?}, the manifest says {wanted}")));
        }
        if fact.shape.rank().concretize().is_some_and(|rank| rank != 2) {
            return Err(interface(format!("input {name:?} is not of shape [items, length]")));
        }
        order.push(index);
    }
    for (index, port) in spec.inputs.iter().enumerate() {
        if order.iter().filter(|found| **found == index).count() != 1 {
            return Err(interface(format!("the graph has no input {:?}", port.name)));
        }
    }
    Ok(order)
}

/// Restricts the graph to the wanted outputs, so that nothing else is computed.
pub(crate) fn select_outputs(graph: &mut InferenceModel, spec: &Spec) -> Result<(), EngineError> {
    let interface = |reason: String| EngineError::Interface { reason };
    let declared = graph.output_outlets().map_err(|error| interface(words(&error)))?.to_vec();
    let mut wanted = Vec::new();
    for port in &spec.outputs {
        let named = |outlet: &&OutletId| graph.outlet_label(**outlet) == Some(&*port.name);
        match declared.iter().find(named) {
            Some(outlet) => wanted.push(*outlet),
            None => return Err(interface(format!("the graph has no output {:?}", port.name))),
        }
    }
    graph.select_output_outlets(&wanted).map_err(|error| interface(words(&error)))
}

/// Names every operator that the wanted outputs need and the library lacks.
pub(crate) fn check_operators(graph: &InferenceModel) -> Result<(), EngineError> {
    let Ok(order) = graph.eval_order() else { return Ok(()) };
    let lacking = order.iter().map(|id| graph.node(*id).op.name().into_owned());
    let lacking = lacking.filter_map(|name| {
        let name = name.strip_prefix("Unimplemented(")?.trim_end_matches(')');
        Some(name.chars().filter(|c| !c.is_control()).take(OPERATOR_CHARS).collect())
    });
    let names: BTreeSet<String> = lacking.collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(EngineError::Operators { names: names.into_iter().take(OPERATORS_MAX).collect() })
}

/// A graph written for rows of another length is not given these.
pub(crate) fn check_length(
    graph: &InferenceModel,
    index: usize,
    port: &InputPort,
    bucket: Bucket,
) -> Result<(), EngineError> {
    let Ok(fact) = graph.input_fact(index) else { return Ok(()) };
    let length = fact.shape.dim(1).and_then(|dim| dim.concretize()).and_then(|dim| dim.to_i64().ok());
    match length {
        Some(length) if usize::try_from(length) != Ok(bucket.length) => {
            let (name, wanted) = (&port.name, bucket.length);
            let reason = format!("input {name:?} has rows of {length}, the manifest says {wanted}");
            Err(EngineError::Interface { reason })
        }
        Some(_) | None => Ok(()),
    }
}

pub(crate) fn check_output(port: &OutputPort, fact: &TypedFact, bucket: Bucket) -> Result<(), EngineError> {
    let interface = |reason: String| EngineError::Interface { reason };
    let name = &port.name;
    if fact.datum_type != datum(port.dtype) {
        let (found, wanted) = (fact.datum_type, port.dtype.as_str());
        return Err(interface(format!("output {name:?} is {found:?}, {wanted} is needed")));
    }
    let shape = fact.shape.as_concrete().unwrap_or(&[]);
    let volume = shape.iter().try_fold(1_usize, |volume, dim| volume.checked_mul(*dim));
    let width = port.width.at(bucket.length);
    let wanted = bucket.items.checked_mul(width);
    if shape.first() != Some(&bucket.items) || volume != wanted {
        return Err(interface(format!(
            "output {name:?} has shape {:?}, [items, {width}] is needed",
            fact.shape
        )));
    }
    Ok(())
}
