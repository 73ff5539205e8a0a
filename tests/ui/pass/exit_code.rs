use std::process::ExitCode;

#[session::main]
fn main() -> ExitCode {
    ExitCode::from(0)
}
