//! The words after the command of a peer.

/// `--name value` pairs.
pub(crate) struct Options(Vec<String>);

impl Options {
    /// The command, and what follows it.
    pub(crate) fn of_command_line() -> (String, Self) {
        let mut words = std::env::args().skip(1);
        (words.next().unwrap_or_default(), Self(words.collect()))
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        let at = self.0.iter().position(|word| word.strip_prefix("--") == Some(name));
        at.and_then(|at| self.0.get(at + 1)).unwrap_or_else(|| panic!("--{name} is missing"))
    }

    pub(crate) fn number(&self, name: &str) -> u64 {
        self.text(name).parse().unwrap_or_else(|_| panic!("--{name} is not a number"))
    }
}
