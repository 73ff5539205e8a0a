#[session::main(stack = 1_073_741_825)]
fn main() {}
