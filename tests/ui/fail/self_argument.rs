struct Server;

impl Server {
    #[session::main]
    fn main(&self) {}
}

fn main() {
    Server.main();
}
