//! Exit codes, and errors as people read them.

use std::io::Write;
use std::process::ExitCode;

/// What went wrong, by what has to be done about it. Numbers from sysexits.h.
#[derive(Debug)]
pub(in crate::cli) enum Failure {
    /// The command line.
    Usage(anyhow::Error),
    /// A bug of ours.
    Bug(anyhow::Error),
    /// A file, a device, a broker.
    Io(anyhow::Error),
    /// The configuration, a board or a model.
    Config(anyhow::Error),
}

impl Failure {
    fn parts(&self) -> (u8, &anyhow::Error) {
        match self {
            Self::Usage(error) => (64, error),
            Self::Bug(error) => (70, error),
            Self::Io(error) => (74, error),
            Self::Config(error) => (78, error),
        }
    }

    /// Prints the error with its causes to stderr and gives the exit code.
    pub(in crate::cli) fn report(&self) -> ExitCode {
        let (code, error) = self.parts();
        let mut line = format!("error: {error}");
        for cause in error.chain().skip(1) {
            line.push_str(": ");
            line.push_str(&cause.to_string());
        }
        say(&line);
        ExitCode::from(code)
    }
}

/// A line for people, to stderr. Nothing can be done if nobody is there to read it.
pub(in crate::cli) fn say(line: &str) {
    writeln!(std::io::stderr(), "{line}").ok();
}

/// A line for programs, to stdout.
///
/// # Errors
/// When the reader has gone away.
pub(in crate::cli) fn print(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")
        .and_then(|()| out.flush())
        .map_err(|error| Failure::Io(anyhow::Error::new(error).context("write to stdout")))
}
