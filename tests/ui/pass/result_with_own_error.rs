#[derive(Debug)]
struct NotToday;

#[session::main]
fn main() -> Result<(), NotToday> {
    "3000".parse::<u16>().map_err(|_| NotToday)?;
    Ok(())
}
