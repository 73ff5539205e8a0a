#[session::main(stack = 65_536.5)]
fn main() {}
