//! Parses the arguments, calls the command, maps its error to an exit code; nothing else.

use std::process::ExitCode;

fn main() -> ExitCode {
    tidegate::cli::main()
}
