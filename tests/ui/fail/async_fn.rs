#[session::main]
async fn main() {
    std::future::ready(()).await;
}
