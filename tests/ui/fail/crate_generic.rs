#[session::main(crate = session::<u8>)]
fn main() {}
