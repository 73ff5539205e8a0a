#[session::main(stack = "8 MiB")]
fn main() {}
