//! Parses the arguments, calls the command, maps its error to an exit code; nothing else.

fn main() {}
