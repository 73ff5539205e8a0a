#[session::main(panic = "any" stack = 65_536)]
fn main() {}
