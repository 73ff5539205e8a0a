#[session::main]
unsafe fn main() {}
