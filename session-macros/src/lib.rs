//! The `#[session::main]` attribute.
