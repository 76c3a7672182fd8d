//! What a command prints: [`Output`].

mod table;

use std::{
    env,
    io::{self, BufRead, BufReader, IsTerminal, Write},
    time::SystemTime,
};

use jiff::tz::TimeZone;
use serde::Serialize;
use verk_core::error::Applied;

pub(crate) use self::table::{Cell, Column, Table, Tone};
use crate::{
    args::{Color, Format, Shared},
    failure::{Exit, Failure},
    interrupt::Interrupt,
    text::{clean, harmless_json},
    times,
};

/// Where a command prints to, and how.
pub(crate) struct Output {
    out: Box<dyn Write + Send>,
    err: Box<dyn Write + Send>,
    input: Box<dyn BufRead + Send>,
    format: Format,
    colors: bool,
    /// The columns of the terminal; `None` if the output is no terminal: then nothing is cut.
    width: Option<u16>,
    /// Whether a person can answer questions.
    asks: bool,
    /// Whether the command changes something: then it continues if nobody reads what it prints.
    changes: bool,
    /// The first error of a write while it changed something.
    unwritten: Option<io::Error>,
    pub(crate) interrupt: Interrupt,
    pub(crate) zone: TimeZone,
}

impl Output {
    /// Stdout, stderr and stdin.
    pub(crate) fn of_process(shared: &Shared) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let is_terminal = out.is_terminal();
        let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            colors: match shared.color {
                Color::Always => true,
                Color::Never => false,
                Color::Auto => is_terminal && !set("NO_COLOR") && !dumb,
            },
            width: is_terminal
                .then(|| crossterm::terminal::size().ok().map(|(columns, _)| columns))
                .flatten(),
            asks: io::stdin().is_terminal() && err.is_terminal(),
            format: shared.output,
            out: Box::new(out),
            err: Box::new(err),
            input: Box::new(BufReader::new(io::stdin())),
            changes: false,
            unwritten: None,
            interrupt: Interrupt::listen(),
            zone: TimeZone::system(),
        }
    }

    #[cfg(test)]
    pub(crate) fn of_test(
        format: Format,
        width: Option<u16>,
        answers: Option<String>,
        interrupted: bool,
        out: Box<dyn Write + Send>,
        err: Box<dyn Write + Send>,
    ) -> Self {
        Self {
            out,
            err,
            format,
            colors: false,
            width,
            asks: answers.is_some(),
            input: Box::new(io::Cursor::new(answers.unwrap_or_default())),
            changes: false,
            unwritten: None,
            interrupt: Interrupt::of_test(interrupted),
            zone: TimeZone::UTC,
        }
    }

    /// Whether programs read the output.
    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether the output is a terminal, whose size is known.
    #[cfg(feature = "tui")]
    pub(crate) fn is_terminal(&self) -> bool {
        self.width.is_some()
    }

    /// Whether texts may have colors.
    #[cfg(feature = "tui")]
    pub(crate) fn has_colors(&self) -> bool {
        self.colors
    }

    /// Whether a person can answer questions.
    pub(crate) fn asks(&self) -> bool {
        self.asks
    }

    /// From here on, the command changes something. It finishes that although nobody may read what
    /// it prints any more.
    pub(crate) fn begins_change(&mut self) {
        self.changes = true;
    }

    /// One object on a line.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let line = serde_json::to_string(value).map_err(|error| Failure::Io(error.to_string()))?;
        self.line(&harmless_json(&line))
    }

    /// A line for people, in any format. Texts of others in it must be [`clean`].
    pub(crate) fn line(&mut self, line: &str) -> Result<(), Failure> {
        let written = writeln!(self.out, "{line}");
        self.written(written)
    }

    /// Text as it is, with its own line breaks.
    pub(crate) fn raw(&mut self) -> &mut (dyn Write + Send) {
        &mut self.out
    }

    /// What came of a change: a line for people, or an object.
    pub(crate) fn outcome(&mut self, line: &str, value: &impl Serialize) -> Result<(), Failure> {
        if self.is_json() {
            self.json(value)
        } else {
            self.line(line)
        }
    }

    /// A line on stderr: what a person should know, and a program that reads stdout need not.
    pub(crate) fn note(&mut self, line: &str) -> Result<(), Failure> {
        let written = writeln!(self.err, "{line}");
        self.written(written)
    }

    fn written(&mut self, written: io::Result<()>) -> Result<(), Failure> {
        match written {
            Err(error) if self.changes => {
                self.unwritten.get_or_insert(error);
                Ok(())
            }
            written => Ok(written?),
        }
    }

    pub(crate) fn table(&mut self, table: Table) -> Result<(), Failure> {
        let text = table.render(self.width, self.colors);
        self.line(&text)
    }

    /// Asks a person, and returns the answer without its line break.
    pub(crate) fn ask(&mut self, question: &str) -> Result<String, Failure> {
        write!(self.err, "{question} ")?;
        self.err.flush()?;
        let mut answer = String::new();
        let interrupt = self.interrupt.clone();
        interrupt.at_question(|| self.input.read_line(&mut answer))?;
        Ok(answer.trim().to_owned())
    }

    /// A time in the zone of this machine.
    pub(crate) fn time(&self, time: SystemTime) -> String {
        times::local(time, &self.zone)
    }

    /// A time, and how long ago or in how long that is.
    pub(crate) fn time_and_age(&self, time: SystemTime, now: SystemTime) -> String {
        let age = verk_web::text::relative(time, now);
        format!("{} ({age})", self.time(time))
    }

    /// Ends the process: prints the failure, if it is one, and returns the exit code.
    pub(crate) fn end(&mut self, result: Result<Exit, Failure>) -> u8 {
        let flushed = self.out.flush();
        let flushed = self.written(flushed);
        let result = result.and_then(|exit| flushed.map(|()| exit));
        let result = match (result, self.unwritten.take()) {
            // All is done, and a reader that has read enough is none that failed.
            (Ok(_), Some(error)) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Failure::Storage {
                    message: format!("the output cannot be written: {error}"),
                    applied: Applied::Unknown,
                })
            }
            (result, _) => result,
        };
        match result {
            Ok(exit) => exit.0,
            Err(failure) => {
                let message = clean(&failure.to_string());
                if !message.is_empty() {
                    // Nobody is there to read it if this fails.
                    let _ = writeln!(self.err, "verk: {message}");
                }
                failure.exit()
            }
        }
    }
}
