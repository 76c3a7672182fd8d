//! `verk top` without a terminal: on a storage in memory and on Redis, with keys and pictures.

mod acting;
mod hostile;
mod screens;

use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use jiff::tz::TimeZone;
use ratatui::{Terminal, backend::TestBackend};
use tokio::sync::{mpsc, watch};
use verk_core::manage::Admin;

use super::{
    handle,
    reader::Reader,
    state::{Request, State},
    update,
    view::{self, Look, Moment},
};

/// The program, with its terminal and its storage.
struct Top {
    admin: Admin,
    state: State,
    look: Look,
    terminal: Terminal<TestBackend>,
    /// How long ago the figures were read.
    age: Duration,
    has_quit: bool,
}

impl Top {
    /// On a terminal of 80 columns and 24 lines, after the first reading.
    async fn start(admin: &Admin) -> Self {
        let mut top = Self {
            admin: admin.clone(),
            state: State::new("the storage".to_owned()),
            look: Look::new(false, None, TimeZone::UTC),
            terminal: Terminal::new(TestBackend::new(80, 24)).unwrap(),
            age: Duration::ZERO,
            has_quit: false,
        };
        top.resize(80, 24).await;
        top
    }

    async fn resize(&mut self, columns: u16, rows: u16) {
        self.terminal.backend_mut().resize(columns, rows);
        handle(&mut self.state, Event::Resize(columns, rows));
        self.read().await;
    }

    /// Reads what the screen needs, as the program does.
    async fn read(&mut self) {
        let mut left = 1 + usize::from(self.state.wanted().part.is_some());
        let (_wanted, wanted) = watch::channel(self.state.wanted());
        let (sender, mut readings) = mpsc::channel(1);
        let reader = Reader::new(&self.admin).run(wanted, sender);
        let mut reader = std::pin::pin!(reader);
        while left > 0 {
            tokio::select! {
                () = &mut reader => panic!("the reader ends"),
                reading = readings.recv() => {
                    left -= 1;
                    update(&mut self.state, reading.unwrap());
                }
            }
        }
    }

    /// Presses keys, makes the changes that they ask for, and reads again.
    async fn press(&mut self, keys: &str) {
        for key in keys.split(' ') {
            self.key(code(key)).await;
        }
    }

    async fn key(&mut self, code: KeyCode) {
        let key = KeyEvent::new(code, KeyModifiers::NONE);
        self.event(Event::Key(key)).await;
        self.read().await;
    }

    async fn event(&mut self, event: Event) {
        match handle(&mut self.state, event) {
            Some(Request::Act(act)) => {
                let outcome = act.perform(&self.admin, Some("ada")).await;
                self.state.finish(outcome);
            }
            Some(Request::Quit) => self.has_quit = true,
            Some(Request::Redraw) | None => {}
        }
    }

    /// The lines of the screen, without blanks at their ends.
    fn screen(&mut self) -> Vec<String> {
        let moment = Moment {
            now: self.admin.now(),
            instant: self.admin.clock().instant() + self.age,
        };
        let (state, look) = (&self.state, &self.look);
        let draw = self
            .terminal
            .draw(|frame| view::draw(frame, state, look, &moment));
        draw.unwrap();
        let buffer = self.terminal.backend().buffer();
        let width = usize::from(buffer.area.width).max(1);
        let lines = buffer.content().chunks(width).map(|cells| {
            let mut line = String::new();
            let mut hidden = 0;
            for cell in cells {
                // What is behind a wide character has a cell, too.
                if hidden == 0 {
                    line.push_str(cell.symbol());
                    hidden = ratatui::text::Span::raw(cell.symbol()).width();
                }
                hidden = hidden.saturating_sub(1);
            }
            line.trim_end().to_owned()
        });
        lines.collect()
    }

    /// What the program says or asks: the lines above the keys.
    fn said(&mut self) -> String {
        let lines = self.screen();
        let above = &lines[..lines.len() - 1];
        let start = above.iter().rposition(String::is_empty);
        let said = above[start.map_or(0, |at| at + 1)..].iter();
        said.map(|line| line.trim()).collect::<Vec<_>>().join(" ")
    }

    fn shows(&mut self, text: &str) -> bool {
        self.screen().iter().any(|line| line.contains(text))
    }

    #[track_caller]
    fn assert_shows(&mut self, text: &str) {
        assert!(self.shows(text), "{text}: {:#?}", self.screen());
    }
}

/// A key by its name, or by its character.
fn code(name: &str) -> KeyCode {
    match name {
        "Enter" => KeyCode::Enter,
        "Esc" => KeyCode::Esc,
        "Tab" => KeyCode::Tab,
        "BackTab" => KeyCode::BackTab,
        "Backspace" => KeyCode::Backspace,
        "Up" => KeyCode::Up,
        "Down" => KeyCode::Down,
        "PgUp" => KeyCode::PageUp,
        "PgDn" => KeyCode::PageDown,
        "Home" => KeyCode::Home,
        "End" => KeyCode::End,
        "Space" => KeyCode::Char(' '),
        char => KeyCode::Char(char.parse().unwrap()),
    }
}
