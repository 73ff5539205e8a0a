#[session::main]
fn main() -> Result<(), String> {
    3000
}
