#[session::main]
fn main(mut _worker @ session::Worker { .. }: session::Worker) {
    _worker = panic_free(_worker);
}

fn panic_free<T>(value: T) -> T {
    value
}
