//! The smallest real server.
fn main() {}
