#[session::main(config = session::json)]
fn main() {}
