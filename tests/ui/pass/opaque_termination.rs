use std::process::{ExitCode, Termination};

#[session::main]
fn main() -> impl Termination {
    Ok::<_, String>(ExitCode::SUCCESS)
}
