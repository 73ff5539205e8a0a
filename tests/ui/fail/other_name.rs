#[session::main]
fn serve() {}
