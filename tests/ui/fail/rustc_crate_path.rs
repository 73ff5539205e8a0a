#[session::main(crate = elsewhere)]
fn main() {}
