#![deny(warnings)]

#[session::main(monitor = customise)]
fn main(_: session::Worker) -> Result<(), Box<dyn std::error::Error>> {
    Ok(())
}

fn customise(_: &mut session::Monitor) -> Result<(), String> {
    Ok(())
}
