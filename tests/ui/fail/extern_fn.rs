#[session::main]
extern "C" fn main() {}
