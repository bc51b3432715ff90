//! Rebuilds when the files that are embedded change, new ones included.

fn main() {
    println!("cargo:rerun-if-changed=static");
}
