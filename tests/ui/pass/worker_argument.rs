use session::Worker;

#[session::main]
fn main(worker: Worker) {
    drop(worker);
}
