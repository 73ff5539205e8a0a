#[session::main]
fn main() {}
