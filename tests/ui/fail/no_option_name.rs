#[session::main("session.json")]
fn main() {}
