//! The built-in workflows are compiled in: a new file in `library/` has to rebuild the crate.

fn main() {
    println!("cargo::rerun-if-changed=library");
}
