//! What the tests share.

pub(crate) mod bouncer;
pub(crate) mod database;
pub(crate) mod deaths;
pub(crate) mod mirror;
pub(crate) mod preload;
pub(crate) mod proof;
pub(crate) mod proxy;
pub(crate) mod receiver;
pub(crate) mod rows;
pub(crate) mod socks;
pub(crate) mod template;
pub(crate) mod tools;
pub(crate) mod truth;
