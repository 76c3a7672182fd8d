//! How large a small program is that runs one kind of job, and how long it takes to compile.

use std::{
    env,
    ffi::OsStr,
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use crate::{
    lab::Lab,
    report::{Measured, Outcome, Report},
};

/// How many crates cargo compiles at once.
const AT_ONCE: &str = "2";

/// A program, by the name of its library in the results.
struct Program {
    library: &'static str,
    package: &'static str,
    /// Its folder in the repository.
    folder: &'static str,
}

/// The same small program with each of three libraries. For the others, the programs of this tool,
/// which have its command line too.
const PROGRAMS: [Program; 5] = [
    Program {
        library: VERK,
        package: "comparison-verk",
        folder: "examples/comparison/verk",
    },
    Program {
        library: "apalis",
        package: "comparison-apalis",
        folder: "examples/comparison/apalis",
    },
    Program {
        library: "rusty_sidekiq",
        package: "comparison-rusty-sidekiq",
        folder: "examples/comparison/rusty-sidekiq",
    },
    Program {
        library: "oxana",
        package: "peer-oxana",
        folder: "benchmarks/peers/oxana",
    },
    Program {
        library: "bullmq",
        package: "peer-bullmq",
        folder: "benchmarks/peers/bullmq",
    },
];

const VERK: &str = "verk";

/// The main figure is the size. With `--quick`, nothing is compiled, and only crates are counted.
/// Peers are left out unless they are measured.
pub(crate) fn run(lab: &Lab) -> Report {
    let peers = lab.all();
    let is_measured = |library: &str| {
        let has_name = |name: &str| name.trim_end_matches("_tuned") == library;
        peers.iter().any(|contender| has_name(&contender.name))
    };
    let programs = PROGRAMS
        .iter()
        .filter(|program| is_measured(program.library));
    let outcomes = programs.map(|program| {
        let outcome = match measure(program, lab.settings.quick) {
            Ok(measured) => {
                eprintln!("footprint, {}: {measured:?}", program.library);
                Outcome::of(&[measured])
            }
            Err(error) => Outcome::Failed {
                error: format!("{error:#}"),
            },
        };
        (program.library.to_owned(), outcome)
    });
    let settings = [
        ("profile", json!("release, stripped")),
        ("crates_at_once", json!(AT_ONCE)),
        // It is long.
        ("runs", json!(1)),
    ];
    Report::new("footprint", "binary_mib", &settings, outcomes.collect())
}

fn measure(program: &Program, quick: bool) -> Result<Measured> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("no repository")?;
    let folder = root.join(program.folder);
    if program.library == VERK {
        // As the workspace is locked: nothing else is downloaded.
        fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock"))?;
    }
    let manifest = folder.join("Cargo.toml");
    let crates = crates(program, &manifest)?;
    if quick {
        return Ok(vec![("crates", crates)]);
    }
    // Downloading is not compiling.
    run_cargo(&["fetch"], &manifest, &[])?;
    let target = tempfile::tempdir()?;
    let (begun, before) = (Instant::now(), cpu_of_children()?);
    let build = ["build", "--quiet", "--release", "--jobs", AT_ONCE];
    let more = [OsStr::new("--target-dir"), target.path().as_os_str()];
    run_cargo(&build, &manifest, &more)?;
    let seconds = begun.elapsed().as_secs_f64();
    let cpu = cpu_of_children()? - before;
    let binary: PathBuf = target.path().join("release").join(program.package);
    let bytes = fs::metadata(&binary)?.len();
    Ok(vec![
        ("binary_mib", bytes as f64 / 1024.0 / 1024.0),
        ("compile_s", seconds),
        ("compile_cpu_s", cpu),
        ("crates", crates),
    ])
}

/// How many crates are compiled for it.
fn crates(program: &Program, manifest: &Path) -> Result<f64> {
    let arguments = [
        "tree",
        "--package",
        program.package,
        "--edges",
        "no-dev",
        "--no-dedupe",
        "--prefix",
        "none",
        "--format",
        "{p}",
    ];
    let tree = run_cargo(&arguments, manifest, &[])?;
    // A crate of a folder has that after its version, and a macro a note.
    let crates = tree.lines().filter_map(|line| line.split(" (").next());
    let mut crates: Vec<&str> = crates.filter(|line| !line.is_empty()).collect();
    crates.sort_unstable();
    crates.dedup();
    Ok(crates.len() as f64)
}

/// The seconds of CPU that processes have used which this one started, and which have ended.
fn cpu_of_children() -> Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    // The name of the program ends with a bracket. Behind it, fields 13 and 14 have the hundredths
    // of a second that the children were in user mode and in the kernel.
    let (_, fields) = stat.rsplit_once(") ").context("no name in stat")?;
    let hundredths = fields.split(' ').skip(13).take(2).map(str::parse::<f64>);
    Ok(hundredths.sum::<Result<f64, _>>()? / 100.0)
}

/// What cargo prints.
fn run_cargo(arguments: &[&str], manifest: &Path, more: &[&OsStr]) -> Result<String> {
    let output = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .arg("--manifest-path")
        .arg(manifest)
        .args(more)
        .env("CARGO_PROFILE_RELEASE_STRIP", "symbols")
        .env_remove("CARGO_TARGET_DIR")
        // A cache would be measured instead of the compiler.
        .env("RUSTC_WRAPPER", "")
        .stderr(Stdio::inherit())
        .output()?;
    ensure!(
        output.status.success(),
        "cargo {} failed for {}",
        arguments.join(" "),
        manifest.display()
    );
    Ok(String::from_utf8(output.stdout)?)
}
