#[session::main]
fn main();
