//! The process `hubbub`.

use std::process::ExitCode;

/// See docs/decisions/0021-jemalloc.md; its options are in `.cargo/config.toml`.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    hubbub::cli::run(hubbub::server::serve)
}
