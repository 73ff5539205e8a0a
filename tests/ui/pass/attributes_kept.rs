#![deny(warnings, missing_docs)]
//! Lints are errors here, save for those that the attributes of `main` allow or expect.

/// Serves.
#[session::main]
#[allow(unused_variables)]
#[expect(unused_mut)]
pub fn main() {
    let mut unused = 1;
}
