#[session::main(monitor = |monitor| drop(monitor))]
fn main() {}
