//! The peers: each is a program of its own, built by itself, so that the features of one do not
//! change another.

use std::{
    env,
    ffi::OsString,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::systems::{Contender, Program};

/// A peer as a package of this workspace: the end of its name, whether it has a call for many jobs,
/// and the most jobs that it is measured with.
const PACKAGES: [(&str, bool, u64); 4] = [
    ("rusty-sidekiq", false, 20_000),
    // When more than 8000 jobs wait, one of its scripts fails.
    ("apalis", true, 5_000),
    ("oxana", true, 20_000),
    ("bullmq", true, 20_000),
];

/// Builds the peers, all or those of these names, with the recommended and the tuned settings. It
/// leaves out Sidekiq if that is not installed.
pub(crate) fn build(names: Option<&[String]>) -> Result<Vec<Contender>> {
    let wanted = |contender: &Contender| names.is_none_or(|names| names.contains(&contender.name));
    let mut peers = Vec::new();
    for (package, has_bulk, most_jobs) in PACKAGES {
        let peer = |program| both(&package.replace('-', "_"), program, has_bulk, most_jobs);
        // Only what is measured is built.
        if peer(Vec::new()).iter().any(wanted) {
            let program = build_package(&format!("peer-{package}"))?;
            peers.extend(peer(vec![program]));
        }
    }
    if sidekiq_is_installed() {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("sidekiq/bench.rb");
        peers.extend(both(
            "sidekiq",
            vec!["ruby".into(), script.into()],
            true,
            20_000,
        ));
    } else {
        eprintln!("sidekiq is not installed: left out");
    }
    peers.retain(wanted);
    Ok(peers)
}

fn both(name: &str, program: Vec<OsString>, has_bulk: bool, most_jobs: u64) -> [Contender; 2] {
    [false, true].map(|tuned| Contender {
        name: if tuned {
            format!("{name}_tuned")
        } else {
            name.to_owned()
        },
        program: Program::Other(program.clone()),
        tuned,
        ahead: None,
        has_bulk,
        most_jobs,
    })
}

/// Builds a package in the profile of this program, in the same folder.
fn build_package(package: &str) -> Result<OsString> {
    let exe = env::current_exe()?;
    let directory = exe.parent().context("no directory")?;
    let target = directory.parent().context("no target directory")?;
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build
        .args(["build", "--locked", "--package", package, "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(target)
        .stdout(Stdio::null());
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    ensure!(build.status()?.success(), "{package} does not build");
    Ok(directory.join(package).into())
}

fn sidekiq_is_installed() -> bool {
    let found = Command::new("ruby")
        .args(["-e", "require 'sidekiq'"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    found.is_ok_and(|status| status.success())
}
