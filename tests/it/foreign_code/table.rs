//! Each place where verk calls code that is not its own, with a test that makes it panic there:
//! `docs/foreign-code.md`.
//!
//! `script/foreign-code` runs those tests with a log that panics, which notes where
//! ([`log`](super::log)). This module finds the places in the source, and compares.

use std::{
    collections::{BTreeMap, BTreeSet},
    env, fs,
    path::{Path, PathBuf},
};

use super::log::ASKED;

const TABLE: &str = "docs/foreign-code.md";
/// Writes the table again, from the notes of the tests.
const BLESS: &str = "BLESS";

/// Where foreign code is called: a file, and what is called in it, since lines move.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    file: String,
    what: String,
}

/// The places, by file and line.
type Places = BTreeMap<(String, u32), Place>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// All places of the crates that a program runs.
fn places() -> Places {
    let mut files = Vec::new();
    for of in ["src", "verk-core/src", "verk-redis/src"] {
        sources(&root().join(of), &mut files);
    }
    files.sort();
    let mut places = Places::new();
    for path in files {
        let file = path.strip_prefix(root()).unwrap();
        let file = file.to_str().unwrap().replace('\\', "/");
        let source = fs::read_to_string(&path).unwrap();
        places_in(&file, &source, &mut places);
    }
    places
}

/// What a line calls, if that is foreign code.
fn is_call(line: &str) -> bool {
    let guards = ["guard::call(", "guard::catch_future("];
    let log = ["trace", "debug", "info", "warn", "error"]
        .iter()
        .any(|level| line.contains(&format!("log::{level}!(")));
    // Not in the macros, which are used elsewhere.
    let is_used = !line.contains('$');
    is_used && (log || line.starts_with("log!(") || guards.iter().any(|call| line.contains(call)))
}

fn places_in(file: &str, source: &str, places: &mut Places) {
    let mut function = "";
    let lines: Vec<&str> = source.lines().collect();
    for (index, line) in lines.iter().enumerate() {
        let code = line.trim_start();
        if code.starts_with("#[cfg(test)]")
            && lines
                .get(index + 1)
                .is_some_and(|next| next.contains("mod tests"))
        {
            return;
        }
        if code.starts_with("//") {
            continue;
        }
        if let Some((_, name)) = code.split_once("fn ") {
            function = name.split(['(', '<']).next().unwrap_or(name);
        }
        if !is_call(code) {
            continue;
        }
        let text = if code.contains("guard::") {
            format!("in `{function}`")
        } else {
            format!("{:?}", message(&lines[index..]))
        };
        let mut what = text.clone();
        let is_taken = |what: &str| {
            places
                .values()
                .any(|place| place.file == file && place.what == what)
        };
        let mut count = 1;
        while is_taken(&what) {
            count += 1;
            what = format!("{text} ({count})");
        }
        let line = u32::try_from(index + 1).unwrap();
        places.insert(
            (file.to_owned(), line),
            Place {
                file: file.to_owned(),
                what,
            },
        );
    }
}

/// The message of a log line that begins here: the last text of the call.
fn message(lines: &[&str]) -> String {
    let mut found = String::new();
    let mut depth = 0_usize;
    let mut text: Option<String> = None;
    let call = lines[0].find("log").unwrap_or(0);
    for (index, line) in lines.iter().enumerate() {
        let mut chars = line[if index == 0 { call } else { 0 }..].chars();
        while let Some(char) = chars.next() {
            match (&mut text, char) {
                (Some(so_far), '\\') => {
                    so_far.push(char);
                    so_far.extend(chars.next());
                }
                (Some(so_far), '"') => {
                    found = std::mem::take(so_far);
                    text = None;
                }
                (Some(so_far), _) => so_far.push(char),
                (None, '"') => text = Some(String::new()),
                (None, '(') => depth += 1,
                (None, ')') => {
                    depth -= 1;
                    if depth == 0 {
                        return found;
                    }
                }
                (None, _) => {}
            }
        }
    }
    found
}

/// The rows of the table: places with their tests.
fn table() -> BTreeMap<Place, String> {
    let table = fs::read_to_string(root().join(TABLE)).unwrap_or_default();
    let rows = table.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.strip_suffix("` |")?.split(" | ");
        let (file, what, test) = (cells.next()?, cells.next()?, cells.next()?);
        let place = Place {
            file: file.trim_end_matches('`').to_owned(),
            what: what.to_owned(),
        };
        Some((place, test.trim_start_matches('`').to_owned()))
    });
    rows.collect()
}

/// Which tests made which places panic, as they noted.
fn noted(directory: &Path, places: &Places) -> BTreeMap<Place, BTreeSet<String>> {
    let mut noted = BTreeMap::<Place, BTreeSet<String>>::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let test = path
            .file_name()
            .unwrap()
            .to_str()
            .unwrap()
            .replace('.', "::");
        for line in fs::read_to_string(&path).unwrap().lines() {
            let (file, line) = line.rsplit_once(':').unwrap();
            if let Some(place) = places.get(&(file.to_owned(), line.parse().unwrap())) {
                noted.entry(place.clone()).or_default().insert(test.clone());
            }
        }
    }
    noted
}

fn write(rows: &BTreeMap<Place, String>) {
    let mut page = String::from(
        "# Foreign code\n\n\
         Each place where verk calls code that is not its own, and a test that makes it panic there. Lines of\n\
         the log call subscribers of `tracing`; the others go through `verk-core/src/guard.rs`.\n\
         `script/foreign-code --bless` writes this page; `script/foreign-code` runs the tests with a log that\n\
         panics, and fails where one of them does not reach its place. A place without a test fails as well.\n\n\
         | file | place | test |\n|---|---|---|\n",
    );
    for (Place { file, what }, test) in rows {
        page += &format!("| `{file}` | {what} | `{test}` |\n");
    }
    fs::write(root().join(TABLE), page).unwrap();
}

#[test]
fn each_place_has_a_test() {
    let places = places();
    assert!(places.len() > 50, "the places are found: {places:?}");
    let all: BTreeSet<&Place> = places.values().collect();
    let table = table();
    let listed: BTreeSet<&Place> = table.keys().collect();
    let missing: Vec<_> = all.difference(&listed).collect();
    let gone: Vec<_> = listed.difference(&all).collect();
    let untested: Vec<_> = table
        .iter()
        .filter(|(_, test)| !test.contains("::"))
        .collect();
    assert!(untested.is_empty(), "no test: {untested:#?}");
    assert!(
        missing.is_empty() && gone.is_empty(),
        "run `script/foreign-code --bless`, after adding a test for each that is new: {missing:#?}, gone: {gone:#?}"
    );
}

#[test]
fn only_the_guarded_macros_log() {
    let mut files = Vec::new();
    for of in ["src", "verk-core/src", "verk-redis/src"] {
        sources(&root().join(of), &mut files);
    }
    let bare = ["tracing::event!", "tracing::span!"];
    let guarded = ["verk-core/src/log.rs", "verk-core/src/runner/job_log.rs"];
    for path in files {
        let is_guarded = guarded.iter().any(|file| path.ends_with(file));
        let source = fs::read_to_string(&path).unwrap();
        let is_bare = bare.iter().any(|name| source.contains(name));
        assert!(is_guarded || !is_bare, "{}", path.display());
    }
}

/// The last step of `script/foreign-code`, after the tests that note. Without it there is nothing
/// to look at.
#[test]
fn what_the_tests_noted() {
    let Some(directory) = env::var_os(ASKED) else {
        return;
    };
    let places = places();
    let noted = noted(Path::new(&directory), &places);
    let mut rows = table();
    let reaches =
        |place: &Place, test: &str| noted.get(place).is_some_and(|tests| tests.contains(test));
    if env::var_os(BLESS).is_some() {
        rows.retain(|place, test| {
            places.values().any(|known| known == place) && reaches(place, test)
        });
        for place in places.values() {
            if let Some(test) = noted.get(place).and_then(BTreeSet::first) {
                rows.entry(place.clone()).or_insert_with(|| test.clone());
            }
        }
        write(&rows);
    }
    let missed: Vec<_> = rows
        .iter()
        .filter(|(place, test)| !reaches(place, test))
        .collect();
    assert!(
        missed.is_empty(),
        "these tests did not make these places panic: {missed:#?}"
    );
    let missing: Vec<_> = places
        .values()
        .filter(|place| !rows.contains_key(place))
        .collect();
    assert!(
        missing.is_empty(),
        "no test makes these places panic: {missing:#?}"
    );
}
