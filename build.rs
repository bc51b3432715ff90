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

/// Appends a file to a script, after the fragments that it needs and the script has not `taken`. An indented
/// comment may need some as well: they take its place, so Redis creates their functions only where the script gets
/// there.
fn append(path: &Path, taken: &mut Vec<String>, script: &mut String) -> io::Result<()> {
    let read = |error| io::Error::other(format!("{}: {error}", path.display()));
    let source = fs::read_to_string(path).map_err(read)?;
    append_fragments(head(&source).as_deref(), taken, script)?;
    for line in source.lines() {
        match line.trim_start().strip_prefix("-- Needs: ").filter(|_| line.starts_with(' ')) {
            Some(list) => append_fragments(Some(list), &mut taken.clone(), script)?,
            None => script.extend([line, "\n"]),
        }
    }
    Ok(())
}

/// Appends those fragments of a list that the script has not `taken`.
fn append_fragments(
    list: Option<&str>,
    taken: &mut Vec<String>,
    script: &mut String,
) -> io::Result<()> {
    let names = list.and_then(|list| list.split('.').next()).unwrap_or_default().split(',');
    for name in names.map(str::trim).filter(|name| !name.is_empty()) {
        if !taken.iter().any(|known| known == name) {
            taken.push(name.to_owned());
            append(&Path::new("lua/lib").join(format!("{name}.lua")), taken, script)?;
        }
    }
    Ok(())
}

/// What stands behind `Needs:` in the comment at the head of a file.
fn head(source: &str) -> Option<String> {
    let head: Vec<&str> = source.lines().map_while(|line| line.strip_prefix("-- ")).collect();
    head.join(" ").split_once("Needs: ").map(|(_, rest)| rest.to_owned())
}
