//! Parses the arguments, calls the command, maps its error to an exit code; nothing else.

use std::process::ExitCode;

use tidegate_alloc::Counting;

/// Every byte of the heap is booked to a stage or a model; the library works without it too, and then says nothing of memory.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> ExitCode {
    tidegate::cli::main()
}
