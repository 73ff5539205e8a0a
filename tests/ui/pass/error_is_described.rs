#[path = "../recorder.rs"]
mod recorder;

struct Failed;

impl std::fmt::Debug for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(recorder::ERROR)
    }
}

#[session::main(crate = recorder)]
fn main() -> Result<(), Failed> {
    Err(Failed)
}
