#[session::main(crate = "")]
fn main() {}
