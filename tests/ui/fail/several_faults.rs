#[session::main(moniter = customise, stack = 1, panic = "all", stack = 65_536)]
async unsafe fn main(worker: session::Worker, more: u8) {
    std::future::ready((worker, more)).await;
}
