#[session::main]
fn main<T: Default, const N: usize>() -> [T; N] {
    std::array::from_fn(|_| T::default())
}
