//! The command `zabra`.

fn main() {}
