//! A model folder on disk around some bytes that claim to be a graph.

use std::fs;
use std::path::Path;

use tidegate::infer::Digest;

/// What stands in a folder. The digests are always right: what comes behind them is what is tested.
#[derive(Clone)]
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) graph: Vec<u8>,
    pub(crate) golden: String,
    /// The lines of `[input]` and of the tasks.
    pub(crate) middle: String,
}

impl Folder {
    /// A model with two features and one task of two labels.
    pub(crate) fn pair(name: &str, graph: Vec<u8>) -> Self {
        let golden = r#"{"cases":[{"input":[0.5,-0.25],"outputs":{"y":[0.5,-0.25]}}]}"#;
        Self { name: name.to_owned(), graph, golden: golden.to_owned(), middle: middle(2, 2) }
    }

    pub(crate) fn golden(self, golden: &str) -> Self {
        Self { golden: golden.to_owned(), ..self }
    }

    pub(crate) fn middle(self, middle: String) -> Self {
        Self { middle, ..self }
    }

    pub(crate) fn manifest(&self) -> String {
        let digest = |bytes: &[u8]| Digest::of(bytes).to_string();
        let (graph, golden, middle) = (digest(&self.graph), digest(self.golden.as_bytes()), &self.middle);
        format!(
            "name = \"{}\"\nversion = \"1.0.0\"\ndescription = \"hostile\"\n{middle}\
             [[variants]]\nname = \"fp32\"\nfile = \"model.onnx\"\nsha256 = \"{graph}\"\n\
             parameters = 0\nmemory_bytes = 0\noperations = 0\n\
             [golden]\nfile = \"golden.json\"\nsha256 = \"{golden}\"\ntolerance = 1e-4\n",
            self.name
        )
    }

    pub(crate) fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        fs::write(folder.join("model.onnx"), &self.graph).unwrap();
        fs::write(folder.join("golden.json"), &self.golden).unwrap();
        fs::write(folder.join("manifest.toml"), self.manifest()).unwrap();
    }
}

/// `[input]` of so many features and a task with so many labels on the output `y`.
pub(crate) fn middle(features: usize, labels: usize) -> String {
    let names = (0..features).map(|index| format!("\"a.f{index}\"")).collect::<Vec<_>>().join(", ");
    let words = (0..labels).map(|index| format!("\"l{index}\"")).collect::<Vec<_>>().join(", ");
    format!(
        "kind = \"sensor\"\n[input]\ntensor = \"features\"\nchannels = [\"a\"]\nfeatures = [{names}]\n\
         mean = {:?}\nstd = {:?}\n\
         [[tasks]]\noutput = \"y\"\nlabels = [{words}]\nthreshold = 0.5\n",
        vec![0.0; features],
        vec![1.0; features]
    )
}
