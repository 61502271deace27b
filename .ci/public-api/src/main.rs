//! Prints the public API in rustdoc's JSON, one item per line.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::error::Error;

use public_api::PublicItem;
use public_api::tokens::Token;

const CRATE: &str = "kinesis_sink::";

fn main() -> Result<(), Box<dyn Error>> {
    let json = std::env::args().nth(1).ok_or("missing argument: the JSON file from rustdoc")?;
    let api = public_api::Builder::from_rustdoc_json(json)
        .include_function_parameter_names(true)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .build()?;
    let lines = lines(api.items());
    println!("# The public API with all features. `.ci/api` writes this file.");
    println!("#");
    let (modules, names) = root_items(&lines);
    println!("# names at the root: {}, and {} modules", names.len(), modules.len());
    println!("# methods of SinkBuilder: {}", methods(&lines, "SinkBuilder"));
    println!("# public types that implement std::error::Error: {}", errors(&lines).len());
    println!();
    for line in lines {
        println!("{line}");
    }
    Ok(())
}

/// Returns the items in the order of their paths, without duplicates.
fn lines<'a>(items: impl Iterator<Item = &'a PublicItem>) -> Vec<String> {
    let items: Vec<_> = items.map(|item| (item, text(item))).collect();
    let texts: HashMap<_, _> = items.iter().map(|(item, text)| (item.id(), text)).collect();
    let mut lines: Vec<_> = items
        .iter()
        .filter(|(item, text)| {
            let parent = item.parent_id().and_then(|parent| texts.get(&parent));
            !is_noise(text) && !parent.is_some_and(|parent| is_implied_by(parent, text))
        })
        .map(|(_, text)| text.clone())
        .collect();
    // An item with two paths appears twice, but its impls use the shorter path, which is last: keep the last duplicate.
    let mut seen = HashSet::new();
    lines.reverse();
    lines.retain(|line| seen.insert(line.clone()));
    lines.reverse();
    lines
}

/// Returns the item as code, with the colon of `Iterator<Item: Send>` that public-api 0.52.0 omits.
fn text(item: &PublicItem) -> String {
    let mut text = String::new();
    let mut after_name = false;
    for token in item.tokens() {
        let is_name = matches!(token, Token::Identifier(_));
        if after_name && is_name {
            text.push_str(": ");
        }
        text.push_str(token.text());
        after_name = is_name;
    }
    text
}

/// Returns `true` for the guide, inherent `impl` headers, and items that macros generate.
fn is_noise(text: &str) -> bool {
    text.starts_with("pub mod kinesis_sink::guide")
        || text.starts_with("impl kinesis_sink::")
        || text.contains("StructuralPartialEq")
        || text.contains("::__private::")
}

/// Returns `true` for methods of trait impls, which the trait implies; associated types are not implied.
fn is_implied_by(parent: &str, text: &str) -> bool {
    parent.starts_with("impl") && parent.contains(" for ") && !text.starts_with("pub type ")
}

/// Returns the modules and the other names at the root of the crate.
fn root_items(lines: &[String]) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let mut modules = BTreeSet::new();
    let mut names = BTreeSet::new();
    for line in lines {
        let Some((kind, path)) = line.split_once(CRATE) else { continue };
        let end = path.find(|letter: char| !letter.is_alphanumeric() && letter != '_');
        let (name, rest) = path.split_at(end.unwrap_or(path.len()));
        let names = match kind {
            "pub mod " => &mut modules,
            "pub " => continue,
            _ if kind.contains("pub ") && !kind.contains(['<', '(']) => &mut names,
            _ => continue,
        };
        if !rest.starts_with("::") {
            names.insert(name);
        }
    }
    (modules, names)
}

fn methods(lines: &[String], type_name: &str) -> usize {
    let path = format!("fn {CRATE}{type_name}::");
    lines.iter().filter(|line| line.starts_with("pub ") && line.contains(&path)).count()
}

fn errors(lines: &[String]) -> BTreeSet<&str> {
    let impls = lines
        .iter()
        .filter(|line| line.starts_with("impl") && line.contains("core::error::Error for "));
    impls.filter_map(|line| line.split(" for ").nth(1)).collect()
}
