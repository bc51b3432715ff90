//! Imports go downwards through the layers of docs/ARCHITECTURE.md, and never in a circle.
//!
//! The layers consist of the modules right below `src`. Within a module, the files of one folder
//! must not import each other in a circle; a file and the folder of its name are one module.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use syn::{Attribute, Item, ItemMod, ItemUse, UseTree, visit::Visit};

const PAGE: &str = include_str!("../../docs/ARCHITECTURE.md");
const TABLE: &str = "| Layer | Modules | Task |\n|---|---|---|\n";

/// A module, by its path from the crate's root.
type Place = Vec<String>;

/// The modules of each row of the table, from top to bottom.
fn layers() -> Vec<Vec<String>> {
    let (_, table) = PAGE.split_once(TABLE).unwrap();
    let rows = table.lines().take_while(|line| line.starts_with('|'));
    let modules = |row: &str| {
        let cell = row.split('|').nth(2).unwrap();
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    };
    rows.map(modules).collect()
}

/// What every module imports from other modules of the crate, without its tests.
fn imports_below(folder: &Path, place: &[String], imports: &mut BTreeMap<Place, BTreeSet<Place>>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let inner = [place, std::slice::from_ref(&name)].concat();
        if path.is_dir() {
            imports_below(&path, &inner, imports);
        } else if name != "lib" {
            let file = syn::parse_file(&fs::read_to_string(&path).unwrap()).unwrap();
            let mut reader = Reader { place: inner.clone(), found: BTreeSet::new() };
            reader.visit_file(&file);
            imports.entry(inner).or_default().extend(reader.found);
        }
    }
}

struct Reader {
    place: Place,
    found: BTreeSet<Place>,
}

impl Reader {
    /// A path of this crate from its root; `None` for a path of another crate.
    fn absolute(&self, path: &[String]) -> Option<Place> {
        let (first, rest) = path.split_first()?;
        let start = match first.as_str() {
            "crate" | "linkroom" => &[],
            "super" => &self.place[..self.place.len() - 1],
            "self" => &self.place[..],
            _ => return None,
        };
        Some([start, rest].concat())
    }

    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &dyn ToString| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            UseTree::Group(group) => {
                group.items.iter().for_each(|tree| self.add_tree(before, tree));
            }
            UseTree::Name(name) => self.found.extend(self.absolute(&with(&name.ident))),
            UseTree::Rename(rename) => self.found.extend(self.absolute(&with(&rename.ident))),
            UseTree::Glob(_) => self.found.extend(self.absolute(before)),
        }
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Place = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.found.extend(self.absolute(&names));
        syn::visit::visit_path(self, path);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        if !is_for_tests(&item.attrs) {
            syn::visit::visit_item_mod(self, item);
        }
    }

    fn visit_item(&mut self, item: &'ast Item) {
        match item {
            Item::Fn(function) if is_for_tests(&function.attrs) => {}
            _ => syn::visit::visit_item(self, item),
        }
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
    })
}

fn all_imports() -> BTreeMap<Place, BTreeSet<Place>> {
    let mut imports = BTreeMap::new();
    imports_below(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &[], &mut imports);
    imports
}

/// The imports between the modules of each folder, by folder.
fn siblings() -> BTreeMap<Place, BTreeMap<String, BTreeSet<String>>> {
    let imports = all_imports();
    let mut folders = BTreeMap::<Place, BTreeMap<String, BTreeSet<String>>>::new();
    for (place, imported) in &imports {
        for other in imported {
            let common = place.iter().zip(other).take_while(|(a, b)| a == b).count();
            let (folder, from) = (&place[..common], place.get(common));
            // An import from the parent is an item of the parent, not a module.
            let to = other.get(common).filter(|to| {
                let module = [folder, &[(*to).clone()]].concat();
                imports.keys().any(|place| place.starts_with(&module))
            });
            if let (Some(from), Some(to)) = (from, to) {
                let modules = folders.entry(folder.to_vec()).or_default();
                modules.entry(from.clone()).or_default().insert(to.clone());
            }
        }
    }
    folders
}

/// The first circle that is found from here.
fn circle(
    from: &str,
    imports: &BTreeMap<String, BTreeSet<String>>,
    way: &mut Vec<String>,
) -> Option<Vec<String>> {
    if let Some(start) = way.iter().position(|earlier| earlier == from) {
        return Some(way[start..].to_vec());
    }
    way.push(from.to_owned());
    let found = imports.get(from).into_iter().flatten().find_map(|to| circle(to, imports, way));
    way.pop();
    found
}

#[test]
fn modules_import_downwards_only() {
    let layers = layers();
    let layer = |module: &str| layers.iter().position(|row| row.iter().any(|name| name == module));
    let imports = siblings().remove(&Vec::new()).unwrap();
    let mut upwards = Vec::new();
    for (from, imported) in &imports {
        for to in imported {
            let rows = (layer(from), layer(to));
            let (Some(above), Some(below)) = rows else { panic!("{from} or {to} has no layer") };
            if above > below {
                upwards.push(format!("{from} imports {to}"));
            }
        }
    }
    assert!(upwards.is_empty(), "{upwards:#?}");
    let named: BTreeSet<_> = layers.into_iter().flatten().collect();
    let there = all_imports().into_keys().map(|place| place[0].clone()).collect();
    assert_eq!(named, there, "the table names every module");
}

#[test]
fn no_modules_import_each_other_in_a_circle() {
    for (folder, imports) in siblings() {
        for module in imports.keys() {
            assert_eq!(circle(module, &imports, &mut Vec::new()), None, "in {folder:?}");
        }
    }
}
