//! The gateway with the system's allocator alone, to compare with: what does keeping books of the heap cost?
//!
//! `scripts/bench_memory.py` runs it beside the program itself. It is that program in all else.

use std::process::ExitCode;

fn main() -> ExitCode {
    // `cargo bench` runs every target with this word; there is nothing to measure in here.
    if std::env::args().any(|word| word == "--bench") {
        return ExitCode::SUCCESS;
    }
    tidegate::cli::main()
}
