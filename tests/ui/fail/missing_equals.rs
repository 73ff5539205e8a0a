#[session::main(monitor)]
fn main() {}
