//! The integration tests: one binary.
fn _x() {}
