//! The `helena-sync` program.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;

use helena_sync::cli::{self, Exit, completions};
use helena_sync::clock::SystemClock;

fn main() -> ExitCode {
    if completions::complete(std::env::args_os()) {
        return Exit::Done.into();
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            return complain(&format!("error: cannot start: {error}\n"), Exit::Failed);
        }
    };
    match runtime.block_on(cli::main(std::env::args_os(), Arc::new(SystemClock))) {
        Ok(exit) => exit.into(),
        // Nobody reads our output any more, so there is nobody to tell.
        Err(failure) if failure.is_closed_pipe() => Exit::Done.into(),
        Err(failure) => complain(&failure.text(), failure.exit),
    }
}

fn complain(text: &str, exit: Exit) -> ExitCode {
    // If stderr is gone too, the exit code still tells.
    let text = helena_sync::telemetry::for_people(text);
    let _unwritable = std::io::stderr().write_all(text.as_bytes());
    exit.into()
}
