//! Exit codes, and errors as people read them.

use std::io::{Error, ErrorKind, Write};
use std::process::ExitCode;

use crate::io::mqtt::MqttError;

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
    ///
    /// Whoever reads stdout may have seen enough, as in `| head`: that is no failure.
    pub(in crate::cli) fn report(&self) -> ExitCode {
        let (code, error) = self.parts();
        if is_reader_gone(error) {
            return ExitCode::SUCCESS;
        }
        say(&format!("error: {error:#}"));
        ExitCode::from(code)
    }
}

fn is_reader_gone(error: &anyhow::Error) -> bool {
    let broken = |cause: &(dyn std::error::Error + 'static)| {
        cause.downcast_ref::<Error>().is_some_and(|cause| cause.kind() == ErrorKind::BrokenPipe)
    };
    // A broker that hangs up is another matter.
    error.chain().any(broken) && error.downcast_ref::<MqttError>().is_none()
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
