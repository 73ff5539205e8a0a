#[session::main(stack = 65_535)]
fn main() {}
