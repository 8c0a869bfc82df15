//! The engine
#[cfg(test)]
mod exhaustive;
pub mod keyset;
pub mod plan;
pub mod walk;
pub mod window;
