//! Every relative link in the documents leads to a file that exists, and to a heading in it.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The documents: those of the repository's root and of docs/.
fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [root.to_owned(), root.join("docs")];
    let files = folders.iter().flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = files.map(|file| file.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect()
}

/// The targets of a document's links to files and headings, `[text](target)`.
fn targets(page: &str) -> Vec<&str> {
    let links = page.split("](").skip(1);
    let targets = links.filter_map(|rest| Some(rest.split_once([')', ' '])?.0));
    targets.filter(|target| !target.contains("://")).collect()
}

/// The anchors of a document's headings, as GitHub makes them.
fn anchors(page: &str) -> Vec<String> {
    let mut anchors: Vec<String> = Vec::new();
    for heading in page.lines().filter(|line| line.starts_with('#')) {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let same = |known: &&String| {
            let rest = known.strip_prefix(anchor.as_str());
            rest.is_some_and(|rest| {
                rest.is_empty()
                    || rest.strip_prefix('-').is_some_and(|n| n.parse::<usize>().is_ok())
            })
        };
        match anchors.iter().filter(same).count() {
            0 => anchors.push(anchor),
            count => anchors.push(format!("{anchor}-{count}")),
        }
    }
    anchors
}

#[test]
fn every_link_of_the_documents_leads_somewhere() {
    let mut checked = 0;
    for document in documents() {
        let page = fs::read_to_string(&document).unwrap();
        for target in targets(&page) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let path = match file {
                "" => document.clone(),
                _ => document.parent().unwrap().join(file),
            };
            let name = document.file_name().unwrap().display();
            assert!(path.exists(), "{name} links to {target}");
            if !anchor.is_empty() && path.extension().is_some_and(|kind| kind == "md") {
                let found = anchors(&fs::read_to_string(&path).unwrap());
                assert!(found.iter().any(|known| known == anchor), "{name} links to {target}");
            }
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked} links");
}

#[test]
fn headings_become_the_anchors_that_links_use() {
    let page = "# From `redis-cli`\n### user_joined, read\n## msg\n## msg\ntext\n## A-B: c?\n";
    let expected = ["from-redis-cli", "user_joined-read", "msg", "msg-1", "a-b-c"];
    assert_eq!(anchors(page), expected);
}
