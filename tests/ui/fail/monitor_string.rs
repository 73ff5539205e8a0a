#[session::main(monitor = "customise")]
fn main() {}

fn customise(_: &mut session::Monitor) {}
