#[session::main]
fn main(arguments: ...) -> u8 {
    arguments.count()
}
