//! What goes into a new model: features by name, or the grams of a text.

use crate::cli::config::{find_stream, load};
use crate::cli::exit::Failure;
use crate::cli::model::new::args::NewArgs;
use crate::features::FeatureLayout;
use crate::infer::engine::Declared;
use crate::infer::tensor::Dtype;
use crate::io::files::open_file;

/// What goes into a new model.
pub(in crate::cli::model::new) enum InputKind {
    /// Features of a window.
    Features { names: Vec<String>, channels: Vec<String> },
    /// Hashed character n-grams.
    CharNgrams { dims: usize, n_min: usize, n_max: usize },
    /// Hashed words and their n-grams.
    WordGrams { dims: usize, n_min: usize, n_max: usize, grams: usize, split: String, lengths: Vec<usize> },
}

impl InputKind {
    /// As the command line says.
    pub(in crate::cli::model::new) fn new(args: &NewArgs) -> Result<Self, Failure> {
        if let Some(text) = &args.char_ngrams {
            let [dims, n_min, n_max] = numbers(text, "--char-ngrams DIMS,N_MIN,N_MAX")?;
            return Ok(Self::CharNgrams { dims, n_min, n_max });
        }
        if let Some(text) = &args.word_grams {
            let [dims, n_min, n_max, grams] = numbers(text, "--word-grams DIMS,N_MIN,N_MAX,GRAMS")?;
            let lengths = list(&args.lengths).iter().map(|number| number.parse()).collect::<Result<_, _>>();
            let lengths = lengths.map_err(|_| usage("--lengths: write numbers of words as 8,16,32"))?;
            return Ok(Self::WordGrams { dims, n_min, n_max, grams, split: args.split.clone(), lengths });
        }
        if let (Some(config), Some(stream)) = (&args.config, &args.stream) {
            let loaded = load(config)?;
            let stream = find_stream(&loaded, stream)?;
            let layout = FeatureLayout::resolve(&stream.features, stream.values());
            let layout = layout.map_err(|error| Failure::Config(error.into()))?;
            return Ok(Self::features(layout.names().iter().map(ToString::to_string).collect()));
        }
        if let Some(text) = &args.features {
            return Ok(Self::features(list(text)));
        }
        match args.samples.as_ref().map(|path| header(path)).transpose()?.flatten() {
            Some(names) => Ok(Self::features(names)),
            None => Err(usage(
                "what goes into the network? Give --config and --stream or --features for samples, --char-ngrams or \
                 --word-grams for reports",
            )),
        }
    }

    fn features(names: Vec<String>) -> Self {
        let mut channels = Vec::new();
        for name in &names {
            let before = name.split('(').next().unwrap_or(name);
            let channel = before.rsplit_once('.').map_or(before, |(channel, _)| channel).to_owned();
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        Self::Features { names, channels }
    }

    /// Numbers per row, ascending.
    pub(in crate::cli::model::new) fn lengths(&self) -> Vec<usize> {
        match self {
            Self::Features { names, .. } => vec![names.len()],
            Self::CharNgrams { dims, .. } => vec![*dims],
            Self::WordGrams { grams, lengths, .. } => lengths.iter().map(|words| words * grams).collect(),
        }
    }

    /// What of the network's input does not fit, in words.
    pub(in crate::cli::model::new) fn misfit(&self, input: &Declared) -> Option<String> {
        let name = &input.name;
        if input.shape.len() != 2 {
            let shape = shape(&input.shape);
            return Some(format!("input {name:?} has shape {shape}, [items, numbers] is needed"));
        }
        let fits = match self {
            Self::Features { .. } => !matches!(input.dtype, None | Some(Dtype::I64)),
            Self::CharNgrams { .. } => input.dtype == Some(Dtype::F32),
            Self::WordGrams { .. } => input.dtype == Some(Dtype::I64),
        };
        if !fits {
            return Some(format!("input {name:?} is {}, {} is needed", input.type_name, self.type_name()));
        }
        let declared = input.shape.get(1).copied().flatten()?;
        let lengths = self.lengths();
        let whole = lengths.as_slice() == [declared];
        (!whole).then(|| {
            let given: Vec<String> = lengths.iter().map(ToString::to_string).collect();
            format!("input {name:?} takes {declared} numbers, {} makes {}", self.words(), given.join(", "))
        })
    }

    fn type_name(&self) -> &'static str {
        match self {
            Self::Features { .. } => "FLOAT, INT8 or UINT8",
            Self::CharNgrams { .. } => "FLOAT",
            Self::WordGrams { .. } => "INT64",
        }
    }

    fn words(&self) -> &'static str {
        match self {
            Self::Features { .. } => "the list of features",
            Self::CharNgrams { .. } => "--char-ngrams",
            Self::WordGrams { .. } => "--word-grams",
        }
    }
}

/// A shape as people write it.
pub(in crate::cli::model::new) fn shape(dims: &[Option<usize>]) -> String {
    let dims: Vec<String> =
        dims.iter().map(|dim| dim.map_or("?".to_owned(), |dim| dim.to_string())).collect();
    format!("[{}]", dims.join(", "))
}

/// The items of a list separated by commas; those within brackets separate nothing.
pub(in crate::cli::model::new) fn list(text: &str) -> Vec<String> {
    let (mut items, mut item, mut depth) = (Vec::new(), String::new(), 0_i32);
    for c in text.chars() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if c == ',' && depth <= 0 {
            items.push(item.trim().to_owned());
            item.clear();
        } else {
            item.push(c);
        }
    }
    items.push(item.trim().to_owned());
    items
}

/// The feature columns of a file that `tidegate features` wrote; `None` if it is no such file.
fn header(path: &std::path::Path) -> Result<Option<Vec<String>>, Failure> {
    let file = open_file(path).map_err(|error| Failure::Io(error.into()))?;
    let mut reader = csv::Reader::from_reader(crate::io::rows::RowGuard::new(file));
    let Ok(names) = reader.headers() else { return Ok(None) };
    let mut names = names.iter().map(str::to_owned);
    let begins = ["from", "to", "completeness"].iter().all(|wanted| names.next().as_deref() == Some(wanted));
    Ok(begins.then(|| names.collect()))
}

fn numbers<const N: usize>(text: &str, form: &str) -> Result<[usize; N], Failure> {
    let numbers: Option<Vec<usize>> = list(text).iter().map(|item| item.parse().ok()).collect();
    let numbers = numbers.and_then(|numbers| <[usize; N]>::try_from(numbers).ok());
    numbers.ok_or_else(|| usage(&format!("{text:?} is not {form}")))
}

fn usage(what: &str) -> Failure {
    Failure::Usage(anyhow::anyhow!(what.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_within_brackets_belong_to_the_name() {
        assert_eq!(list("a.mean, b.band(1,2),c"), ["a.mean", "b.band(1,2)", "c"]);
        let InputKind::Features { channels, .. } =
            InputKind::features(list("a.mean,b.q(0.25),a.band(0.1,2),x.y.std"))
        else {
            panic!("features")
        };
        assert_eq!(channels, ["a", "b", "x.y"]);
    }
}
