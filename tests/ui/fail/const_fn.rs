#[session::main]
const fn main() {
    println!("not known before it runs");
}
