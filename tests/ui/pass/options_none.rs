#[session::main()]
fn main() {}
