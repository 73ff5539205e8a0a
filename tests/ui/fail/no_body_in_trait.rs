trait Serve {
    #[session::main]
    fn main();
}

fn main() {}
