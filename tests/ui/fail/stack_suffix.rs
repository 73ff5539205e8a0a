#[session::main(stack = 65_536i64)]
fn main() {}
