#[session::main(stack = 0)]
fn main() {}
