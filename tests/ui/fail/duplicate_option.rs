#[session::main(stack = 65_536, stack = 131_072)]
fn main() {}
