//! Runs a graph: the only place that knows tract.
//!
//! # Invariants
//! A graph comes from memory, never from a path: external tensors are refused and what was checked is what is run.
//! A panic inside the library ends here. The numbers that leave are finite.
//!
//! # Why
//! One plan per fixed shape: symbolic plans take up to twice as long. The tract crates are pinned, because their
//! interface is not stable.

mod footprint;
pub mod general;
mod interface;
mod survey;

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tract_onnx::prelude::*;
use tract_onnx::tract_hir::tract_core::plan;

use crate::infer::engine::footprint::footprint;
use crate::infer::engine::interface::{
    check_length, check_operators, check_output, match_inputs, select_outputs,
};
use crate::infer::tensor::{Bucket, Column, Dtype, Input, Outputs, Rows, Spec};

pub use footprint::Footprint;
pub use survey::{Declared, Operator, Survey, spec_at};

/// Characters of a message of the library that are kept: some print a whole graph.
const REASON_CHARS: usize = 300;

/// Why a graph cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The bytes are no graph, or the graph uses what the library lacks.
    #[error("parse the graph: {reason}")]
    Parse {
        /// The library's words.
        reason: String,
    },
    /// The graph has operators the library lacks.
    #[error("the engine has no operator {:?}: express the graph without", .names)]
    Operators {
        /// All of them, by name.
        names: Vec<String>,
    },
    /// The graph has not the inputs and outputs the manifest names.
    #[error("compare the graph with the manifest: {reason}")]
    Interface {
        /// What differs.
        reason: String,
    },
    /// The graph cannot be prepared for a shape.
    #[error("prepare the graph for {items} x {length}: {reason}")]
    Prepare {
        /// Rows.
        items: usize,
        /// Numbers per row.
        length: usize,
        /// The library's words.
        reason: String,
    },
    /// The graph cannot be run on tensors of the given types and shapes.
    #[error("run the graph: {reason}")]
    General {
        /// The library's words.
        reason: String,
    },
    /// The library panicked.
    #[error("the graph makes the library panic: {reason}")]
    Panicked {
        /// The message of the panic.
        reason: String,
    },
}

/// Why a run gave nothing. Carries nothing of the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RunError {
    /// The caller's deadline passed between two nodes.
    #[error("the deadline passed")]
    Deadline,
    /// The library panicked.
    #[error("the graph panicked")]
    Panicked,
    /// An output is NaN or infinite.
    #[error("output {output} is not finite")]
    NonFinite {
        /// Index of the output in the spec.
        output: usize,
    },
    /// The input fits no bucket or no port.
    #[error("the input fits no bucket")]
    Shape,
    /// The library returned an error.
    #[error("the graph failed")]
    Failed,
}

/// A parsed graph whose interface agrees with its spec.
pub struct Draft {
    graph: InferenceModel,
    spec: Spec,
    /// Index into `spec.inputs` of each graph input.
    order: Vec<usize>,
}

/// A graph ready to run: one plan and one state per bucket.
pub struct Engine {
    spec: Spec,
    plans: Vec<Prepared>,
    outputs: Outputs,
}

struct Prepared {
    bucket: Bucket,
    plan: Arc<TypedRunnableModel>,
    state: TypedSimpleState,
    /// One tensor per graph input with the index of its port, kept from run to run.
    inputs: Vec<(usize, Arc<Tensor>)>,
    /// Numbers per item of each output.
    widths: Vec<usize>,
}

impl Draft {
    /// Parses a graph and compares its inputs and outputs with the spec.
    pub fn parse(spec: &Spec, bytes: &[u8]) -> Result<Self, EngineError> {
        guarded(|| {
            let mut graph = parse(bytes)?;
            let order = match_inputs(&graph, spec)?;
            select_outputs(&mut graph, spec)?;
            check_operators(&graph)?;
            Ok(Self { graph, spec: spec.clone(), order })
        })
    }

    /// Predicts what the graph costs at one shape.
    pub fn footprint(&self, bucket: Bucket) -> Result<Footprint, EngineError> {
        guarded(|| {
            let typed = self.typed(bucket)?;
            footprint(&typed).map_err(|error| prepare_error(bucket, &error))
        })
    }

    /// The graph at a fixed shape, simplified, its outputs compared with the spec.
    fn typed(&self, bucket: Bucket) -> Result<TypedModel, EngineError> {
        let mut graph = self.graph.clone();
        for (index, port) in self.order.iter().enumerate() {
            let Some(port) = self.spec.inputs.get(*port) else { continue };
            check_length(&graph, index, port, bucket)?;
            let shape = [bucket.items, bucket.length];
            graph
                .set_input_fact(index, InferenceFact::dt_shape(datum(port.dtype), shape))
                .map_err(|error| prepare_error(bucket, &error))?;
        }
        let typed = simplified(graph).map_err(|error| prepare_error(bucket, &error))?;
        for (index, port) in self.spec.outputs.iter().enumerate() {
            let fact = typed.output_fact(index).map_err(|error| prepare_error(bucket, &error))?;
            check_output(port, fact, bucket)?;
        }
        Ok(typed)
    }

    fn prepare(&self, bucket: Bucket) -> Result<Prepared, EngineError> {
        let plan = planned(self.typed(bucket)?).map_err(|error| prepare_error(bucket, &error))?;
        let state = plan.spawn().map_err(|error| prepare_error(bucket, &error))?;
        let mut inputs = Vec::new();
        for &port in &self.order {
            let dtype = self.spec.inputs.get(port).map_or(Dtype::F32, |port| port.dtype);
            let tensor = Tensor::zero_dt(datum(dtype), &[bucket.items, bucket.length])
                .map_err(|error| prepare_error(bucket, &error))?;
            inputs.push((port, Arc::new(tensor)));
        }
        let widths = self.spec.outputs.iter().map(|port| port.width.at(bucket.length)).collect();
        Ok(Prepared { bucket, plan, state, inputs, widths })
    }
}

impl Engine {
    /// Parses a graph and prepares one plan per bucket, smallest first.
    pub fn load(spec: &Spec, bytes: &[u8], buckets: &[Bucket]) -> Result<Self, EngineError> {
        let draft = Draft::parse(spec, bytes)?;
        guarded(|| {
            let mut buckets = buckets.to_vec();
            buckets.sort_by_key(|bucket| (bucket.length, bucket.items));
            let plans = buckets.into_iter().map(|bucket| draft.prepare(bucket));
            let plans = plans.collect::<Result<Vec<_>, _>>()?;
            Ok(Self { spec: spec.clone(), plans, outputs: Outputs::for_spec(spec) })
        })
    }

    /// The shapes it can run, smallest first.
    pub fn buckets(&self) -> impl Iterator<Item = Bucket> + '_ {
        self.plans.iter().map(|prepared| prepared.bucket)
    }

    /// What it was loaded for.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Runs the smallest bucket that holds the input; asks `expired` before each node and stops when it says so.
    ///
    /// Rows and columns beyond the input are zero. After an error the next run starts afresh.
    pub fn run(
        &mut self,
        input: &Input<'_>,
        expired: &mut dyn FnMut() -> bool,
    ) -> Result<&Outputs, RunError> {
        let fits = |bucket: Bucket| bucket.items >= input.items && bucket.length >= input.length;
        let prepared = self.plans.iter_mut().find(|prepared| fits(prepared.bucket)).ok_or(RunError::Shape)?;
        if input.ports.len() != self.spec.inputs.len() || input.items == 0 {
            return Err(RunError::Shape);
        }
        prepared.fill(input)?;
        let outputs = &mut self.outputs;
        let ran = catch_unwind(AssertUnwindSafe(|| prepared.run(expired, input.items, outputs)));
        let result = ran.unwrap_or(Err(RunError::Panicked));
        if result.is_err() {
            prepared.renew();
        }
        result?;
        Ok(&self.outputs)
    }
}

impl Prepared {
    /// Copies the rows into the tensors kept for them.
    fn fill(&mut self, input: &Input<'_>) -> Result<(), RunError> {
        let bucket = self.bucket;
        for (port, tensor) in &mut self.inputs {
            let rows = input.ports.get(*port).ok_or(RunError::Shape)?;
            if rows.len() != input.items * input.length {
                return Err(RunError::Shape);
            }
            if Arc::get_mut(tensor).is_none() {
                // An output is the input itself, or an aborted run still holds it.
                *tensor = Arc::new(tensor.deep_clone());
            }
            let tensor = Arc::get_mut(tensor).ok_or(RunError::Failed)?;
            let mut view = tensor.try_as_plain_ram_mut().map_err(|_| RunError::Failed)?;
            let filled = match *rows {
                Rows::F32(rows) => view.as_slice_mut().map(|to| copy(rows, to, input, bucket)),
                Rows::I64(rows) => view.as_slice_mut().map(|to| copy(rows, to, input, bucket)),
                Rows::I8(rows) => view.as_slice_mut().map(|to| copy(rows, to, input, bucket)),
                Rows::U8(rows) => view.as_slice_mut().map(|to| copy(rows, to, input, bucket)),
            };
            filled.map_err(|_| RunError::Shape)?;
        }
        Ok(())
    }

    /// Runs node by node and copies the wanted outputs.
    fn run(
        &mut self,
        expired: &mut dyn FnMut() -> bool,
        items: usize,
        outputs: &mut Outputs,
    ) -> Result<(), RunError> {
        let inputs = self.inputs.iter().map(|(_, tensor)| TValue::from_const(Arc::clone(tensor))).collect();
        let mut late = false;
        let ran = self.state.run_plan_with_eval(inputs, |context, state, node, inputs| {
            if expired() {
                late = true;
                return Err(TractError::msg("deadline"));
            }
            plan::eval(context, state, node, inputs)
        });
        let values = match ran {
            Ok(values) => values,
            Err(_) if late => return Err(RunError::Deadline),
            Err(_) => return Err(RunError::Failed),
        };
        let columns = outputs.columns.iter_mut().zip(&self.widths);
        for (index, (value, ((width, column), of_plan))) in values.iter().zip(columns).enumerate() {
            *width = *of_plan;
            take(value, items * *width, column).ok_or(RunError::Failed)?;
            match column {
                Column::F32(values) if values.iter().any(|value| !value.is_finite()) => {
                    return Err(RunError::NonFinite { output: index });
                }
                Column::F32(_) | Column::I64(_) => {}
            }
        }
        Ok(())
    }

    /// Forgets what an unfinished run left behind; a state from before a panic is not trusted.
    fn renew(&mut self) {
        if let Ok(state) = self.plan.spawn() {
            self.state = state;
        }
    }
}

/// Reads a graph from memory: with no path, external tensors are refused.
fn parse(bytes: &[u8]) -> Result<InferenceModel, EngineError> {
    let graph = onnx().with_ignore_value_info(true).model_for_read(&mut Cursor::new(bytes));
    graph.map_err(|error| EngineError::Parse { reason: words(&error) })
}

/// A graph whose inputs have a shape, typed and without what changes nothing.
fn simplified(graph: InferenceModel) -> TractResult<TypedModel> {
    graph.into_typed()?.into_decluttered()
}

/// The plan that is run.
fn planned(typed: TypedModel) -> TractResult<Arc<TypedRunnableModel>> {
    typed.into_optimized()?.into_runnable()
}

/// Runs a piece of the library and turns its panic into an error. The state it may leave half-made is dropped.
fn guarded<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let reason = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a message");
        Err(EngineError::Panicked { reason: reason.chars().take(REASON_CHARS).collect() })
    })
}

/// Copies rows of `input.length` into rows of `bucket.length`, zero beyond.
fn copy<T: Copy + Default>(from: &[T], to: &mut [T], input: &Input<'_>, bucket: Bucket) {
    to.fill(T::default());
    if input.length > 0 && bucket.length > 0 {
        for (from, to) in from.chunks(input.length).zip(to.chunks_mut(bucket.length)) {
            if let Some(to) = to.get_mut(..from.len()) {
                to.copy_from_slice(from);
            }
        }
    }
}

/// Copies the first numbers of a tensor; `None` if it is not what was checked at loading.
fn take(value: &Tensor, count: usize, column: &mut Column) -> Option<()> {
    let view = value.try_as_plain_ram().ok()?;
    match column {
        Column::F32(to) => {
            to.clear();
            to.extend_from_slice(view.as_slice::<f32>().ok()?.get(..count)?);
        }
        Column::I64(to) => {
            to.clear();
            to.extend_from_slice(view.as_slice::<i64>().ok()?.get(..count)?);
        }
    }
    Some(())
}

fn datum(dtype: Dtype) -> DatumType {
    match dtype {
        Dtype::F32 => DatumType::F32,
        Dtype::I64 => DatumType::I64,
        Dtype::I8 => DatumType::I8,
        Dtype::U8 => DatumType::U8,
    }
}

fn prepare_error(bucket: Bucket, error: &TractError) -> EngineError {
    EngineError::Prepare { items: bucket.items, length: bucket.length, reason: words(error) }
}

/// The causes of an error of the library on one line, cut.
fn words(error: &TractError) -> String {
    let text = format!("{error:#}");
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::infer::tensor::{InputPort, OutputPort, Width};

    const DENSE: &[u8] = include_bytes!("../../tests/golden/models/dense-pair/model.onnx");
    const EMBEDDING: &[u8] = include_bytes!("../../tests/golden/models/looks-at-padding/model.onnx");
    const WITH_INDEX: &[u8] = include_bytes!("../../tests/golden/models/with-index/model.onnx");
    const LOGARITHM: &[u8] = include_bytes!("../../tests/golden/models/nan-below-zero/model.onnx");
    const GATHER: &[u8] = include_bytes!("../../tests/golden/models/panics-out-of-range/model.onnx");
    const ECHO: &[u8] = include_bytes!("../../tests/golden/models/echo/model.onnx");
    const TRUNCATED: &[u8] = include_bytes!("../../tests/golden/models/truncated/model.onnx");
    const EXTERNAL: &[u8] = include_bytes!("../../tests/golden/models/external-weights/model.onnx");

    fn spec(input: (&str, Dtype), outputs: &[(&str, usize, Dtype)]) -> Spec {
        let port = |&(name, width, dtype): &(&str, usize, Dtype)| OutputPort {
            name: name.into(),
            width: Width::Fixed(width),
            dtype,
        };
        Spec {
            inputs: vec![InputPort { name: input.0.into(), dtype: input.1 }],
            outputs: outputs.iter().map(port).collect(),
        }
    }

    fn dense() -> Spec {
        spec(("features", Dtype::F32), &[("wear", 3, Dtype::F32), ("leak", 2, Dtype::F32)])
    }

    fn one(width: usize) -> Spec {
        spec(("features", Dtype::F32), &[("y", width, Dtype::F32)])
    }

    fn buckets(items: &[usize], length: usize) -> Vec<Bucket> {
        items.iter().map(|&items| Bucket { items, length }).collect()
    }

    fn run<'a>(engine: &'a mut Engine, items: usize, rows: &[f32]) -> Result<&'a Outputs, RunError> {
        let input = Input { items, length: rows.len() / items, ports: &[Rows::F32(rows)] };
        engine.run(&input, &mut || false)
    }

    #[test]
    fn a_batch_gives_each_item_what_it_gets_alone() {
        let mut engine = Engine::load(&dense(), DENSE, &buckets(&[8, 1], 4)).unwrap();
        let rows: Vec<f32> = (0_u8..12).map(|n| f32::from(n).sin()).collect();
        let batch = run(&mut engine, 3, &rows).unwrap().clone();
        for (item, row) in rows.chunks(4).enumerate() {
            let alone = run(&mut engine, 1, row).unwrap();
            for output in 0..2 {
                let pairs = alone.f32(output, 0).unwrap().iter().zip(batch.f32(output, item).unwrap());
                assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-5), "item {item} output {output}");
            }
        }
        assert!(batch.f32(0, 3).is_none() && batch.f32(2, 0).is_none() && batch.i64(0, 0).is_none());
    }

    #[test]
    fn integers_go_in_and_the_smallest_bucket_that_fits_is_padded_with_zeros() {
        let spec = spec(("words", Dtype::I64), &[("class", 3, Dtype::F32)]);
        let all: Vec<_> = [8, 16].into_iter().flat_map(|length| buckets(&[1, 2], length)).collect();
        let mut engine = Engine::load(&spec, EMBEDDING, &all).unwrap();
        let mut run = |ids: &[i64], items: usize| {
            let input = Input { items, length: ids.len() / items, ports: &[Rows::I64(ids)] };
            engine.run(&input, &mut || false).map(|outputs| outputs.f32(0, 0).unwrap().to_vec())
        };
        let short = run(&[5, 6, 7], 1).unwrap();
        assert_eq!(short, run(&[5, 6, 7, 0, 0, 0, 0, 0], 1).unwrap());
        run(&[9; 8], 1).unwrap();
        assert_eq!(short, run(&[5, 6, 7], 1).unwrap(), "nothing of the row before is left");
        assert_ne!(short, run(&[5, 6, 7, 0, 0, 0, 0, 0, 0], 1).unwrap(), "a longer bucket has more zeros");
        assert_eq!(run(&[1; 17], 1), Err(RunError::Shape));
        assert_eq!(run(&[1; 24], 3), Err(RunError::Shape));
        assert_eq!(run(&[], 1).map(|row| row.len()), Ok(3), "a row may be empty");
    }

    #[test]
    fn outputs_of_different_types_are_given_and_unwanted_ones_not_computed() {
        let wanted = [("index", 1, Dtype::I64), ("logits", 3, Dtype::F32), ("unused", 4, Dtype::F32)];
        let rows = [3.0, 0.0, -2.0, 1.0];
        let input = Input { items: 1, length: 4, ports: &[Rows::F32(&rows)] };
        let mut nodes = [0; 4];
        for count in 1..=3 {
            let spec = spec(("features", Dtype::F32), &wanted[..count]);
            let mut engine = Engine::load(&spec, WITH_INDEX, &buckets(&[1], 4)).unwrap();
            let outputs = engine.run(&input, &mut || {
                nodes[count] += 1;
                false
            });
            let outputs = outputs.unwrap();
            let Some([index]) = outputs.i64(0, 0) else { panic!("one index") };
            if let Some(logits) = outputs.f32(1, 0) {
                let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
                assert!((logits[usize::try_from(*index).unwrap()] - best).abs() < 1e-9);
            }
        }
        assert_eq!(nodes[1], nodes[2], "the logits are needed for the index");
        assert_eq!(nodes[2] + 1, nodes[3], "the exponential is computed only where it is wanted");
    }

    #[test]
    fn a_deadline_stops_between_nodes_and_the_next_run_is_right() {
        let mut engine = Engine::load(&dense(), DENSE, &buckets(&[1], 4)).unwrap();
        let rows = [0.5, -0.5, 1.0, 0.0];
        let right = run(&mut engine, 1, &rows).unwrap().clone();
        for allowed in 0..3 {
            let mut asked = 0;
            let input = Input { items: 1, length: 4, ports: &[Rows::F32(&rows)] };
            let stopped = engine.run(&input, &mut || {
                asked += 1;
                asked > allowed
            });
            assert_eq!(stopped.err(), Some(RunError::Deadline));
            assert_eq!(asked, allowed + 1);
            assert_eq!(run(&mut engine, 1, &rows).unwrap().f32(0, 0), right.f32(0, 0));
        }
    }

    #[test]
    fn numbers_that_are_not_finite_never_leave() {
        let mut engine = Engine::load(&one(2), LOGARITHM, &buckets(&[1], 2)).unwrap();
        assert!(run(&mut engine, 1, &[1.0, 2.0]).is_ok());
        for bad in [[-1.0, 1.0], [1.0, 0.0], [f32::NAN, 1.0], [f32::INFINITY, 1.0]] {
            assert_eq!(run(&mut engine, 1, &bad).err(), Some(RunError::NonFinite { output: 0 }), "{bad:?}");
        }
        assert!(run(&mut engine, 1, &[1.0, 2.0]).is_ok());
    }

    #[test]
    fn a_panic_of_the_library_ends_here_and_the_next_run_is_right() {
        let mut engine = Engine::load(&one(2), GATHER, &buckets(&[1], 1)).unwrap();
        let right = run(&mut engine, 1, &[2.0]).unwrap().clone();
        assert_eq!(run(&mut engine, 1, &[99.0]).err(), Some(RunError::Panicked));
        assert_eq!(run(&mut engine, 1, &[2.0]).unwrap().f32(0, 0), right.f32(0, 0));
    }

    #[test]
    fn input_tensors_are_reused_even_where_an_output_is_the_input_or_a_run_was_stopped() {
        for (spec, bytes, rows) in [(dense(), DENSE, vec![0.5; 4]), (one(2), ECHO, vec![0.25; 2])] {
            let mut engine = Engine::load(&spec, bytes, &buckets(&[1], rows.len())).unwrap();
            run(&mut engine, 1, &rows).unwrap();
            let input = Input { items: 1, length: rows.len(), ports: &[Rows::F32(&rows)] };
            let filled = allocation_counter::measure(|| engine.plans[0].fill(&input).unwrap());
            assert_eq!(filled.count_total, 0);
            assert!(engine.run(&input, &mut || true).is_err());
            let filled = allocation_counter::measure(|| engine.plans[0].fill(&input).unwrap());
            assert_eq!(filled.count_total, 0, "a stopped run keeps nothing");
        }
    }

    #[test]
    fn a_graph_that_differs_from_its_manifest_says_how() {
        let why = |spec: &Spec, bytes: &[u8]| match Engine::load(spec, bytes, &buckets(&[1], 4)) {
            Ok(_) => "loaded".to_owned(),
            Err(error) => error.to_string(),
        };
        let wear = |width, dtype| spec(("features", Dtype::F32), &[("wear", width, dtype)]);
        assert_eq!(why(&wear(3, Dtype::F32), DENSE), "loaded");
        let wrong_input = spec(("tokens", Dtype::F32), &[("wear", 3, Dtype::F32)]);
        let byte_input = spec(("features", Dtype::U8), &[("wear", 3, Dtype::F32)]);
        let mut two_inputs = wear(3, Dtype::F32);
        two_inputs.inputs.push(InputPort { name: "mask".into(), dtype: Dtype::F32 });
        for (found, expected) in [
            (why(&wrong_input, DENSE), "the graph has an input \"features\" the manifest does not name"),
            (why(&byte_input, DENSE), "input \"features\" is F32, the manifest says u8"),
            (why(&two_inputs, DENSE), "the graph has no input \"mask\""),
            (why(&one(2), DENSE), "the graph has no output \"y\""),
            (why(&wear(4, Dtype::F32), DENSE), "[items, 4] is needed"),
            (why(&wear(3, Dtype::I64), DENSE), "i64 is needed"),
            (why(&dense(), TRUNCATED), "parse the graph"),
            (why(&dense(), EXTERNAL), "no model path was specified"),
            (why(&dense(), b""), "graph"),
        ] {
            assert!(found.contains(expected), "{found:?} does not contain {expected:?}");
        }
        let Err(wrong_length) = Engine::load(&dense(), DENSE, &buckets(&[1], 5)) else {
            panic!("was loaded")
        };
        let why = wrong_length.to_string();
        assert!(why.contains("input \"features\" has rows of 4, the manifest says 5"), "{why}");
    }

    #[test]
    fn the_footprint_is_what_the_network_is_made_of() {
        let footprint =
            Draft::parse(&dense(), DENSE).unwrap().footprint(Bucket { items: 1, length: 4 }).unwrap();
        assert_eq!(footprint.operations, 4 * 8 + 8 * 3 + 8 * 2);
        // Two layers, two heads; the library adds a scalar for the Relu.
        assert!((85..90).contains(&footprint.parameters), "{footprint:?}");
        assert_eq!(footprint.parameter_bytes, footprint.parameters * 4);
        assert!((40..1000).contains(&footprint.scratch_bytes), "{footprint:?}");
        assert_eq!(footprint.table_bytes, 0);
        let spec = spec(("words", Dtype::I64), &[("class", 3, Dtype::F32)]);
        let looked_up = Draft::parse(&spec, EMBEDDING).unwrap().footprint(Bucket { items: 1, length: 8 });
        assert_eq!(looked_up.unwrap().table_bytes, 32 * 6 * 4);
    }
}
