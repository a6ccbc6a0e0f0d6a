//! The process `hubbub`.

use std::process::ExitCode;

fn main() -> ExitCode {
    hubbub::cli::run(|_config| Err("serve is not linked into this build".to_owned()))
}
