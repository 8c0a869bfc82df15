//! The platform's spans of time.

#![no_main]

#[allow(dead_code, reason = "every target calls one of the checks")]
#[path = "../../tests/it/outside/checks.rs"]
mod checks;

libfuzzer_sys::fuzz_target!(|text: &str| checks::span(text));
