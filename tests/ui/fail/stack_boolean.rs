#[session::main(stack = true)]
fn main() {}
