#[session::main]
fn main(worker: String) {
    drop(worker);
}
