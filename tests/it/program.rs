//! A test of this binary as a program in a process of its own: [`Program`].

use std::{
    env,
    io::{self, BufRead, BufReader},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc,
    thread,
};

use crate::support::PATIENCE;

/// A process that runs one test. Its output and its errors come line by line.
pub(crate) struct Program {
    child: Child,
    lines: mpsc::Receiver<String>,
    /// All of them so far.
    pub(crate) shown: String,
}

impl Program {
    /// Starts the test of this full name, with more variables in its environment.
    pub(crate) fn start(test: &str, variables: &[(&str, &str)]) -> Self {
        let (send, lines) = mpsc::channel();
        let mut child = Command::new(env::current_exe().unwrap())
            .args(["--exact", test, "--nocapture"])
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout: Box<dyn io::Read + Send> = Box::new(child.stdout.take().unwrap());
        let stderr: Box<dyn io::Read + Send> = Box::new(child.stderr.take().unwrap());
        for output in [stdout, stderr] {
            let send = send.clone();
            thread::spawn(move || {
                for line in BufReader::new(output).lines().map_while(Result::ok) {
                    let _ = send.send(line);
                }
            });
        }
        Self {
            child,
            lines,
            shown: String::new(),
        }
    }

    /// Reads until a line has that text, unless one had it before.
    pub(crate) fn read_until(&mut self, text: &str) {
        while !self.shown.contains(text) {
            let next = self.lines.recv_timeout(PATIENCE);
            let next = next.unwrap_or_else(|_| panic!("no {text} after: {}", self.shown));
            self.shown += &next;
            self.shown.push('\n');
        }
    }

    /// Sends a signal to the process.
    #[cfg(unix)]
    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let kill = Command::new("kill").args([signal, &pid]).status();
        assert!(kill.unwrap().success());
    }

    /// Whether the process has ended, and how.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
