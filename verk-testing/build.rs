//! Lists the cases of the conformance suite, so that each is written once: every `pub async fn` in
//! a file of `src/conformance` is a case of the module that the file is.

use std::{env, error::Error, fmt::Write as _, fs, path::Path};

const SUITE: &str = "src/conformance";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed={SUITE}");
    let mut files = Vec::new();
    for entry in fs::read_dir(SUITE)? {
        files.push(entry?.path());
    }
    files.sort();
    let mut modules = String::new();
    for file in files {
        let source = fs::read_to_string(&file)?;
        let cases: Vec<&str> = source.lines().filter_map(case).collect();
        let module = file.file_stem().and_then(|stem| stem.to_str());
        if let (Some(module), false) = (module, cases.is_empty()) {
            writeln!(modules, "{module} {{ {}, }}", cases.join(", "))?;
        }
    }
    let list = format!(
        "#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_cases {{
    ($then:ident $($before:tt)*) => {{ $crate::$then! {{ $($before)* {modules} }} }};
}}
"
    );
    let out = env::var("OUT_DIR")?;
    fs::write(Path::new(&out).join("conformance_cases.rs"), list)?;
    Ok(())
}

/// The name of the case that begins in a line.
fn case(line: &str) -> Option<&str> {
    line.strip_prefix("pub async fn ")?.split('(').next()
}
