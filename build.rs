//! Assembles the Lua scripts. Rebuilds when files that are embedded change, new ones included.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=static");
    println!("cargo:rerun-if-changed=lua");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for entry in fs::read_dir("lua")? {
        let path = entry?.path();
        if let Some(name) = path.file_name().filter(|_| path.is_file()) {
            let mut script = String::new();
            append(&path, &mut Vec::new(), &mut script)?;
            fs::write(out.join(name), script)?;
        }
    }
    Ok(())
}

/// Appends a file to a script, after the fragments that it needs and the script has not `taken`.
fn append(path: &Path, taken: &mut Vec<String>, script: &mut String) -> io::Result<()> {
    let read = |error| io::Error::other(format!("{}: {error}", path.display()));
    let source = fs::read_to_string(path).map_err(read)?;
    for fragment in needs(&source) {
        if !taken.contains(&fragment) {
            taken.push(fragment.clone());
            append(&Path::new("lua/lib").join(fragment + ".lua"), taken, script)?;
        }
    }
    script.push_str(&source);
    Ok(())
}

/// The fragments behind `Needs:` in the comment at the head of a file, up to the full stop.
fn needs(source: &str) -> Vec<String> {
    let head: Vec<&str> = source.lines().map_while(|line| line.strip_prefix("-- ")).collect();
    let head = head.join(" ");
    let list = head.split_once("Needs: ").and_then(|(_, rest)| rest.split('.').next());
    let names = list.unwrap_or_default().split(',').map(str::trim);
    names.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}
