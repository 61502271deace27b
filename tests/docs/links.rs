//! Tests that the documents refer only to files and tests that exist.

use std::fs;
use std::path::{Component, Path, PathBuf};

struct Link<'a> {
    text: &'a str,
    target: &'a str,
}

fn links(document: &str) -> impl Iterator<Item = Link<'_>> {
    document.split("](").zip(document.split("](").skip(1)).filter_map(|(before, after)| {
        let text = before.rsplit_once('[')?.1;
        let target = after.split_once(')')?.0;
        Some(Link { text, target })
    })
}

/// Returns `true` if `path` is not part of the package and the tests run in an unpacked package.
fn is_excluded(path: &Path) -> bool {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let path = path.components().fold(PathBuf::new(), |mut path, part| {
        match part {
            Component::ParentDir => _ = path.pop(),
            part => path.push(part),
        }
        path
    });
    let excluded = [".ci", ".github", "deny.toml", "fuzz"].map(|name| root.join(name));
    excluded.iter().any(|excluded| path.starts_with(excluded) && !excluded.exists())
        && root.join(".cargo_vcs_info.json").exists()
}

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = [root.to_owned(), root.join("docs")].into_iter().flat_map(|folder| {
        let files = fs::read_dir(&folder).expect("the folder is readable");
        files.map(|file| file.expect("the folder can be listed").path())
    });
    files.filter(|file| file.extension().is_some_and(|kind| kind == "md")).collect()
}

#[test]
fn linked_files_and_tests_exist() {
    let mut named = 0;
    for path in documents() {
        let document = fs::read_to_string(&path).unwrap();
        let folder = path.parent().expect("a file has a parent");
        for Link { text, target } in links(&document) {
            let file = target.split('#').next().unwrap_or_default();
            if target.contains("://") || file.is_empty() || is_excluded(&folder.join(file)) {
                continue;
            }
            let link = format!("{}: [{text}]({target})", path.display());
            assert!(folder.join(file).exists(), "no such file: {link}");
            if let Some(test) = text.strip_prefix('`').filter(|_| file.ends_with(".rs")) {
                let test = test.trim_end_matches('`');
                assert!(runs(&folder.join(file), test), "no such test: {link}");
                named += 1;
            }
        }
    }
    assert!(named > 50, "only {named} tests are named");
}

/// Returns the source files of the guide. They contain only documentation.
fn chapters(folder: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(folder).expect("the folder is readable");
    let files = files.map(|file| file.expect("the folder can be listed").path());
    let chapters = files.flat_map(|file| if file.is_dir() { chapters(&file) } else { vec![file] });
    chapters.collect()
}

#[test]
fn readme_links_every_guide_chapter() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let guide = root.join("src/guide");
    let chapters = chapters(&guide);
    for chapter in chapters.iter().filter(|chapter| **chapter != guide.join("mod.rs")) {
        let path =
            chapter.strip_prefix(root.join("src")).expect("the guide is in src").with_extension("");
        let path = path.to_str().unwrap().trim_end_matches("/mod");
        let page = format!("](https://docs.rs/kinesis-sink/latest/kinesis_sink/{path}/index.html)");
        assert!(readme.contains(&page), "README.md does not link {page}");
    }
    assert!(chapters.len() > 10, "only {} chapters", chapters.len());
}

/// Checks each path in a code span.
#[test]
fn paths_in_documents_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    for path in documents().into_iter().chain(chapters(&root.join("src/guide"))) {
        let document = fs::read_to_string(&path).unwrap();
        for code in document.split('`').skip(1).step_by(2) {
            let file = code.split_whitespace().next().unwrap_or_default();
            let folders =
                ["src/", "tests/", "examples/", "fuzz/", "docs/", "benches/", ".ci/", ".github/"];
            let named_here = folders.iter().any(|folder| file.starts_with(folder));
            if named_here && !is_excluded(&root.join(file)) {
                assert!(root.join(file).exists(), "no such file: {}: `{code}`", path.display());
                named += 1;
            }
        }
    }
    assert!(named > 30, "only {named} paths are named");
}

/// Returns `true` if `file` has a test with this name and `cargo test` runs it by default.
fn runs(file: &Path, name: &str) -> bool {
    let source = fs::read_to_string(file).unwrap();
    let starts = [format!("fn {name}("), format!("fn {name}<")];
    let Some(begin) = starts.iter().find_map(|start| source.find(start)) else { return false };
    let line = source[..begin].rfind('\n').unwrap_or_default();
    let above = source[..line].lines().rev();
    let attributes: Vec<_> =
        above.map(str::trim).take_while(|line| line.starts_with(['#', '/'])).collect();
    // The sink contract tests have no attribute, because a macro expands the list of their names.
    let is_test = attributes.iter().any(|line| line.starts_with("#[") && line.contains("test"))
        || source.lines().any(|line| line.trim() == name);
    is_test && !attributes.iter().any(|line| line.starts_with("#[ignore"))
}
