//! The program as its users meet it: the real binary, started in an empty folder with nothing but
//! its environment, against a simulated account on the machine's clock.

mod accounts;
mod alerts;
mod commands;
mod completion;
mod daemon;
mod doorbell;
mod http;
mod killed;
mod listing;
mod logs;
mod mirror;
mod monitoring;
mod page;
mod passes;
mod poolers;
pub(crate) mod program;
mod refused;
mod reload;
mod screen;
mod setup;
mod several;
mod shared;
mod stopped;
mod surroundings;
mod terminal;
#[cfg(feature = "otlp")]
mod traces;
mod turns;
mod weather;
