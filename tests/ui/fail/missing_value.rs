#[session::main(config =)]
fn main() {}
