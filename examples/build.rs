//! A link option for small static binaries: what README tells users who want the same.

use std::env;
use std::process::Command;

/// The first version of Rust whose own musl (1.2.5) unpacks these relocations as it starts. With
/// an older one (1.2.3) the program would crash before its first instruction.
const FIRST_MINOR: u32 = 93;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let musl = env::var("CARGO_CFG_TARGET_ENV").is_ok_and(|env| env == "musl");
    if musl && minor_version().is_some_and(|minor| minor >= FIRST_MINOR) {
        // A static binary relocates itself; packed, most relocations take a bit instead of 24 bytes.
        println!("cargo::rustc-link-arg-bins=-Wl,-z,pack-relative-relocs");
    }
}

/// The 93 of `rustc 1.93.0 (…)`.
fn minor_version() -> Option<u32> {
    let output = Command::new(env::var_os("RUSTC")?)
        .arg("--version")
        .output();
    let text = String::from_utf8(output.ok()?.stdout).ok()?;
    text.split('.').nth(1)?.parse().ok()
}
