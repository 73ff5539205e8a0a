#[session::main]
fn serve() {}

fn main() {
    serve();
}
