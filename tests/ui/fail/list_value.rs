#[session::main(monitor(customise))]
fn main() {}
