#[session::main(stack = -65_536)]
fn main() {}
