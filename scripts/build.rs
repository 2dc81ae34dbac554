//! The built-in workflows are compiled in: a new file in `library/` has to rebuild the crate.

#[expect(clippy::print_stdout, reason = "how a build script speaks to cargo")]
fn main() {
    println!("cargo::rerun-if-changed=library");
}
