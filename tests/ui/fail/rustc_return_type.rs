#[session::main(monitor = customise, stack = 65_536)]
fn main() -> Vec<u8> {
    Vec::new()
}

fn customise(_: &mut session::Monitor) {}
