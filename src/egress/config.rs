//! What may leave: the features a stream declares and the closed words of the models.

use std::sync::Arc;

/// What may leave of one stream. Policies are indexed by `StreamId`.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Name of the stream as it leaves.
    pub stream: Arc<str>,
    /// The features that may leave.
    pub features: Vec<Declared>,
    /// How much of an entity may leave.
    pub entities: Entities,
    /// Whether the probability of every label leaves, or that of the winner only.
    pub scores: bool,
}

/// A feature that may leave.
#[derive(Clone, Debug)]
pub struct Declared {
    /// Its name, as the stream's feature layout gives it.
    pub name: Arc<str>,
    /// It leaves as the nearest multiple of this. Not positive or not finite: it does not leave.
    pub resolution: f32,
}

/// How much of an entity may leave. Never its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entities {
    /// Its type and its word in the model's vocabulary, or null.
    Vocabulary,
    /// Its type.
    TypesOnly,
    /// Nothing.
    None,
}

/// Every word a model can say.
#[derive(Clone, Debug)]
pub struct ModelWords {
    /// `name@version`, as events carry it.
    pub id: Arc<str>,
    /// Its tasks.
    pub tasks: Vec<TaskWords>,
    /// Types of the entities it finds; empty for models that find none.
    pub entity_types: Vec<Arc<str>>,
    /// The words an entity's value may have.
    pub vocabulary: Vec<Arc<str>>,
}

/// Every word a task can say.
#[derive(Clone, Debug)]
pub struct TaskWords {
    /// Name of the task; empty for a single unnamed one.
    pub task: Arc<str>,
    /// Its labels.
    pub labels: Vec<Arc<str>>,
}
