//! The program as its users meet it: the real binary, started in an empty folder with nothing but
//! its environment, against a simulated account on the machine's clock.

mod killed;
mod mirror;
mod program;
mod refused;
mod weather;
