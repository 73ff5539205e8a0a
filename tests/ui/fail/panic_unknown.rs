#[session::main(panic = "all")]
fn main() {}
