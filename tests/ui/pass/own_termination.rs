use std::process::{ExitCode, Termination};

struct Served(u32);

impl Termination for Served {
    fn report(self) -> ExitCode {
        if self.0 == 7 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

#[session::main]
fn main() -> Served {
    Served(7)
}
