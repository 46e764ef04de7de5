//! The `tapemark` command.
fn main() {}
