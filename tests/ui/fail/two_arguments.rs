use session::Worker;

#[session::main]
fn main(worker: Worker, arguments: Vec<String>) {
    drop((worker, arguments));
}
