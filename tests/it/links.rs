//! The links of the Markdown files that people read as they are lead somewhere, without rustdoc.

use std::{
    fs,
    path::{Path, PathBuf},
};

/// The targets of the links of a page, but for those to other sites.
fn links(page: &str) -> impl Iterator<Item = &str> {
    let targets = page.split("](").skip(1);
    let targets = targets.filter_map(|rest| Some(rest.split_once(')')?.0));
    targets.filter(|target| !target.starts_with("http"))
}

/// The anchors of a page: one for each heading, as GitHub and GitLab make them.
fn anchors(page: &str) -> impl Iterator<Item = String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings.map(|heading| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = |char: &char| char.is_alphanumeric() || " -_".contains(*char);
        text.chars()
            .filter(kept)
            .collect::<String>()
            .replace(' ', "-")
    })
}

fn markdown_files(root: &Path) -> Vec<PathBuf> {
    let folders = [root.to_owned(), root.join("docs")];
    let entries = folders
        .iter()
        .flat_map(|folder| fs::read_dir(folder).unwrap());
    let files = entries.map(|entry| entry.unwrap().path());
    files
        .filter(|file| file.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

#[test]
fn every_relative_link_of_a_markdown_file_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut count = 0;
    for file in markdown_files(root) {
        let page = fs::read_to_string(&file).unwrap();
        for link in links(&page) {
            count += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => file.clone(),
                path => file.parent().unwrap().join(path),
            };
            assert!(target.exists(), "{}: {link}", file.display());
            if !anchor.is_empty() {
                let target = fs::read_to_string(target).unwrap();
                let found = anchors(&target).any(|it| it == anchor);
                assert!(found, "{}: {link}", file.display());
            }
        }
    }
    assert!(count > 30, "{count} links");
}
