//! The `helena-sync` program.

fn main() {}
