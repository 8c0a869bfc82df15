//! The program as its users meet it: the real binary, started in an empty folder with nothing but
//! its environment, against a simulated account on the machine's clock.

mod accounts;
mod commands;
mod daemon;
mod killed;
mod listing;
mod mirror;
mod passes;
mod program;
mod refused;
mod turns;
mod weather;
