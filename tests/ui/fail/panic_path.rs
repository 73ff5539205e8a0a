#[session::main(panic = main)]
fn main() {}
