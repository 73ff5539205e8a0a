/// Serves.
#[session::main]
pub(crate) struct Server;
