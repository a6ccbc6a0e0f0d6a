//! The process `hubbub`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hubbub::cli::run(hubbub::server::serve)
}
