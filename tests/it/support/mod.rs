//! What the tests share.

pub(crate) mod database;
pub(crate) mod mirror;
pub(crate) mod proxy;
pub(crate) mod truth;
