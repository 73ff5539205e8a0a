#[session::main(moniter = customise)]
fn main() {}
