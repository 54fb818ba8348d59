//! The manifest of a new model as text, and what is still to be said in it.

use std::fmt::Write as _;

use crate::cli::model::new::input::InputKind;
use crate::infer::Digest;
use crate::infer::tensor::Dtype;

/// What stands where the author has to say something. `tidegate model report` looks for it.
pub(in crate::cli::model) const FILL_IN: &str = "FILL IN";

/// Everything that is known of a new model.
pub(in crate::cli::model::new) struct Draft<'a> {
    pub(in crate::cli::model::new) name: &'a str,
    pub(in crate::cli::model::new) tensor: &'a str,
    pub(in crate::cli::model::new) dtype: Dtype,
    pub(in crate::cli::model::new) input: &'a InputKind,
    /// Outputs with their labels.
    pub(in crate::cli::model::new) tasks: &'a [(String, Vec<String>)],
    /// Output and types of a network that marks entities.
    pub(in crate::cli::model::new) tags: Option<(&'a str, &'a [String])>,
    pub(in crate::cli::model::new) graph: Digest,
    pub(in crate::cli::model::new) golden: Digest,
    pub(in crate::cli::model::new) parameters: u64,
    pub(in crate::cli::model::new) memory_bytes: u64,
    /// Heap it keeps and takes for a moment while it is loaded, as measured; 0 where nothing counts.
    pub(in crate::cli::model::new) measured: (u64, u64),
    pub(in crate::cli::model::new) operations: u64,
}

impl Draft<'_> {
    /// `manifest.toml`.
    pub(in crate::cli::model::new) fn text(&self) -> String {
        let mut out = String::new();
        let kind = match self.input {
            InputKind::Features { .. } => "sensor",
            InputKind::CharNgrams { .. } | InputKind::WordGrams { .. } => "report",
        };
        // Writing to a string cannot fail.
        writeln!(
            out,
            "name = {}\nversion = \"0.1.0\"\nkind = \"{kind}\"\ndescription = \"{FILL_IN}: one sentence\"\n",
            quoted(self.name)
        )
        .ok();
        self.write_input(&mut out);
        for (output, labels) in self.tasks {
            let name = if self.tasks.len() == 1 { "" } else { output.as_str() };
            writeln!(
                out,
                "[[tasks]]\nname = {}\noutput = {}\nlabels = {}\nalarm = []\ntemperature = 1.0\nthreshold = 0.5\n",
                quoted(name),
                quoted(output),
                strings(labels)
            )
            .ok();
        }
        if let Some((output, types)) = self.tags {
            let (output, types) = (quoted(output), strings(types));
            writeln!(
                out,
                "[tags]\noutput = {output}\ntypes = {types}\ntemperature = 1.0\nthreshold = 0.5\noutside_bias = 0.0\n"
            )
            .ok();
        }
        let Self { graph, golden, parameters, memory_bytes, operations, .. } = self;
        let measured = match self.measured {
            (0, _) => String::new(),
            (kept, peak) => format!("memory_measured = {kept}\nload_peak = {peak}\n"),
        };
        writeln!(
            out,
            "[[variants]]\nname = \"fp32\"\nfile = \"model.onnx\"\nsha256 = \"{graph}\"\nparameters = {parameters}\n\
             memory_bytes = {memory_bytes}\n{measured}operations = {operations}\n\n\
             [golden]\nfile = \"golden.json\"\nsha256 = \"{golden}\"\ntolerance = 1e-4\n\n\
             [training]\ndata = \"{FILL_IN}: which data\"\nlicence = \"{FILL_IN}: their licence\"\n\
             recipe = \"{FILL_IN}: how it was trained\""
        )
        .ok();
        out
    }

    fn write_input(&self, out: &mut String) {
        writeln!(out, "[input]\ntensor = {}", quoted(self.tensor)).ok();
        match self.input {
            InputKind::Features { names, channels } => {
                let [zeros, ones] = ["0.0", "1.0"].map(|number| vec![number; names.len()].join(", "));
                writeln!(
                    out,
                    "channels = {}\nfeatures = {}\nmean = [{zeros}]\nstd = [{ones}]\nclip = 8.0",
                    strings(channels),
                    strings(names)
                )
                .ok();
                if self.dtype != Dtype::F32 {
                    writeln!(out, "dtype = \"{}\"\nscale = 1.0\nzero = 0", self.dtype.as_str()).ok();
                }
            }
            InputKind::CharNgrams { dims, n_min, n_max } => {
                writeln!(
                    out,
                    "encoder = {{ type = \"char-ngrams\", dims = {dims}, n_min = {n_min}, n_max = {n_max} }}"
                )
                .ok();
            }
            InputKind::WordGrams { dims, n_min, n_max, grams, split, lengths } => {
                let split = quoted(split);
                writeln!(
                    out,
                    "encoder = {{ type = \"word-grams\", split = {split}, dims = {dims}, n_min = {n_min}, \
                     n_max = {n_max}, grams = {grams}, lengths = {lengths:?} }}"
                )
                .ok();
            }
        }
        out.push('\n');
    }

    /// What the author has still to say: the key, and what belongs there.
    pub(in crate::cli::model::new) fn open_points(&self) -> Vec<[String; 2]> {
        let mut points = vec![["description", "one sentence for the people who choose models"]];
        if matches!(self.input, InputKind::Features { .. }) {
            points.push(["input.mean, input.std", "of the training set; 0 and 1 change nothing"]);
            if self.dtype != Dtype::F32 {
                points.push(["input.scale, input.zero", "how a number becomes a byte"]);
            }
            points
                .push(["input.min_completeness", "windows of which less is real are uncertain; default 0.5"]);
        }
        if self.tags.is_some() {
            points.push(["tags.temperature, tags.threshold", "calibration on held-out data"]);
            points.push(["tags.vocabulary", "the terms that may leave; without it only types do"]);
        } else {
            points.push([
                "tasks.temperature, tasks.threshold",
                "calibration on held-out data; 1.0 and 0.5 are guesses",
            ]);
            points.push(["tasks.alarm", "labels that raise an alarm; none do"]);
        }
        points.push(["[scope]", "what is unlike the training data; nothing is out of scope without it"]);
        points.push([
            "golden.json",
            "outputs of the framework it was trained in: these are this engine's own, so they \
                      find a change and no mistake",
        ]);
        points.push(["[training]", "data, licence, recipe"]);
        points.push(["[[scores]]", "what it achieves: `tidegate model eval`"]);
        points.into_iter().map(|point| point.map(str::to_owned)).collect()
    }
}

/// A text as TOML and JSON both quote it.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn strings(list: &[String]) -> String {
    let items: Vec<String> = list.iter().map(|item| quoted(item)).collect();
    format!("[{}]", items.join(", "))
}
