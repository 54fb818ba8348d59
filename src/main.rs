//! Parses the arguments, calls the command, maps its error to an exit code; nothing else.

use std::path::Path;
use std::process::ExitCode;

use tidegate::io::admission::child_main;
use tidegate::units::Bytes;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    if let ["admit", "--dir", dir, "--memory", memory, "--seconds", seconds] = words.as_slice()
        && let (Ok(memory), Ok(seconds)) = (memory.parse(), seconds.parse())
    {
        return child_main(Path::new(dir), Bytes(memory), seconds);
    }
    ExitCode::from(64)
}
