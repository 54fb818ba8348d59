//! What a graph costs, predicted without running it.

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::internal::Cost;
use tract_onnx::tract_hir::tract_core::ops::array::Gather;
use tract_onnx::tract_hir::tract_core::ops::konst::Const;
use tract_onnx::tract_hir::tract_core::ops::logic::IfThenElse;

/// What a graph costs at one shape, predicted without running it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Numbers in the constants the wanted outputs depend on.
    pub parameters: u64,
    /// Their bytes.
    pub parameter_bytes: u64,
    /// Those of them that are only looked up in: all plans of a graph share them, others are packed for each.
    pub table_bytes: u64,
    /// Multiply-adds and divisions of one run.
    pub operations: u64,
    /// Largest sum of tensors alive at once during a run, in bytes.
    pub scratch_bytes: u64,
}

impl Footprint {
    /// Adds two branches of which one runs.
    fn add_choice(&mut self, one: &Self, other: &Self) {
        let both = |sum: u64, one: u64, other: u64| sum.saturating_add(one).saturating_add(other);
        self.parameters = both(self.parameters, one.parameters, other.parameters);
        self.parameter_bytes = both(self.parameter_bytes, one.parameter_bytes, other.parameter_bytes);
        self.table_bytes = both(self.table_bytes, one.table_bytes, other.table_bytes);
        self.operations = self.operations.saturating_add(one.operations.max(other.operations));
    }
}

/// Sums up what the library predicts of each node. Counts that do not fit are as large as can be. Of the branches of an
/// `If`, which the library does not count, the costliest is what runs; the constants of both stay in memory.
pub(in crate::infer::engine) fn footprint(typed: &TypedModel) -> TractResult<Footprint> {
    let number = |dim: &TDim| dim.to_i64().ok().and_then(|n| u64::try_from(n).ok()).unwrap_or(u64::MAX);
    let (mut sum, mut branches) = (Footprint::default(), 0_u64);
    let order = typed.eval_order()?;
    for &id in &order {
        let node = typed.node(id);
        let (inputs, _) = typed.node_facts(id)?;
        let mut readers = node.outputs.iter().flat_map(|outlet| &outlet.successors);
        let is_table = readers.all(|reader| typed.node(reader.node).op_is::<Gather>());
        if let Some(choice) = node.op_as::<IfThenElse>() {
            let (one, other) = (footprint(&choice.then_body)?, footprint(&choice.else_body)?);
            branches = branches.max(one.scratch_bytes).max(other.scratch_bytes);
            sum.add_choice(&one, &other);
        }
        for (cost, count) in node.op.cost(&inputs)? {
            let count = number(&count);
            match cost {
                Cost::Params(datum) => {
                    let bytes = u64::try_from(datum.size_of()).unwrap_or(8);
                    sum.parameters = sum.parameters.saturating_add(count);
                    let bytes = count.saturating_mul(bytes);
                    sum.parameter_bytes = sum.parameter_bytes.saturating_add(bytes);
                    if is_table {
                        sum.table_bytes = sum.table_bytes.saturating_add(bytes);
                    }
                }
                Cost::FMA(_) | Cost::Div(_) | Cost::Custom(true, _) => {
                    sum.operations = sum.operations.saturating_add(count);
                }
                Cost::Buffer(_) | Cost::Custom(false, _) => {}
            }
        }
    }
    let steps = typed.eval_tmp_memory_usage(&order, |node| !node.op_is::<Const>())?;
    let most = steps.iter().map(|(_, bytes)| number(bytes)).max().unwrap_or(0);
    sum.scratch_bytes = most.saturating_add(branches);
    Ok(sum)
}
