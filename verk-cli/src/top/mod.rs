//! `verk top`: the fleet in a terminal.
//!
//! 1. `state` knows what is shown, and decides what a key does. It does no I/O.
//! 2. `reader` reads what the state wants, once a second.
//! 3. `act` makes a change that a key asked for.
//! 4. `view` draws the state.
//! 5. [`run`] connects them with the terminal, which `screen` changes and puts back.

mod act;
mod filter;
mod kept_log;
mod keys;

mod list;
mod reader;
mod screen;
mod select;
mod signals;
mod state;
#[cfg(test)]
mod tests;
mod trends;
mod view;

use std::{env, pin::Pin, time::Duration};

use crossterm::event::{Event, KeyEventKind};
use tokio::sync::{mpsc, watch};

pub(crate) use self::kept_log::Kept;
use self::{
    act::Outcome,
    reader::{Reader, Reading},
    screen::Screen,
    signals::Signals,
    state::{Request, State},
    view::{Look, Moment},
};
use crate::{
    commands::Session,
    failure::{Exit, Failure},
};

/// The screen shows how old its figures are, so it is drawn again after this time.
const REDRAW: Duration = Duration::from_secs(1);

/// How many readings may wait to be shown.
const READINGS: usize = 4;

/// A change that is being made.
type Acting<'a> = Pin<Box<dyn Future<Output = Outcome> + 'a>>;

/// Shows the fleet until a person quits, or a signal ends the process.
pub(crate) async fn run(session: &Session<'_>) -> Result<Exit, Failure> {
    let output = &*session.output;
    if output.is_json() {
        return Err(Failure::usage(
            "top is for people: for programs there are stats, queues, running and others with -o json",
        ));
    }
    if !output.is_terminal() {
        return Err(Failure::usage(
            "top needs a terminal, and stdout is none: see stats, queues and running",
        ));
    }
    if env::var_os("TERM").is_some_and(|term| term == "dumb") {
        return Err(Failure::usage(
            "top needs a terminal whose cursor can be moved, and TERM says that this one is dumb",
        ));
    }
    let mut signals = Signals::listen()?;
    let mut screen = Screen::open(output.has_colors())?;
    let shown = show(session, &Look::of(output), &mut screen, &mut signals).await;
    let panicked = screen.has_panicked();
    drop(screen);
    kept_log::print();
    match shown {
        Ok(_) | Err(Failure::Closed) if panicked => Err(Failure::Io(
            "a part of verk panicked: its message is above".to_owned(),
        )),
        shown => shown,
    }
}

async fn show(
    session: &Session<'_>,
    look: &Look,
    screen: &mut Screen,
    signals: &mut Signals,
) -> Result<Exit, Failure> {
    let admin = session.admin;
    let user = session.user.as_deref();
    let clock = admin.clock();
    let mut state = State::new(admin.address());
    let size = screen.size()?;
    state.resize(size.width, size.height);
    let (wanted, wanted_by_reader) = watch::channel(state.wanted());
    let (sender, mut readings) = mpsc::channel(READINGS);
    let reader = Reader::new(admin).run(wanted_by_reader, sender);
    let mut reader = std::pin::pin!(reader);
    let mut acting: Option<Acting<'_>> = None;
    loop {
        if screen.has_panicked() {
            return Err(Failure::Closed);
        }
        let moment = Moment {
            now: admin.now(),
            instant: clock.instant(),
        };
        screen.draw(|frame| view::draw(frame, &state, look, &moment))?;
        let outcome = async {
            match &mut acting {
                Some(acting) => acting.await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            exit = signals.next() => return Ok(exit),
            event = screen.next_event() => {
                let mut next = Some(event?);
                // What was typed meanwhile needs no picture in between.
                while let Some(event) = next {
                    match handle(&mut state, event) {
                        Some(Request::Quit) => return Ok(Exit::DONE),
                        Some(Request::Redraw) => screen.clear()?,
                        Some(Request::Act(act)) => acting = Some(Box::pin(act.perform(admin, user))),
                        None => {}
                    }
                    next = screen.waiting_event()?;
                }
            }
            Some(reading) = readings.recv() => update(&mut state, reading),
            outcome = outcome => {
                acting = None;
                state.finish(outcome);
            }
            () = &mut reader => {}
            () = clock.sleep(REDRAW) => {}
        }
        let newly_wanted = state.wanted();
        wanted.send_if_modified(|wanted| {
            let changed = *wanted != newly_wanted;
            *wanted = newly_wanted;
            changed
        });
    }
}

fn update(state: &mut State, reading: Reading) {
    match reading {
        Reading::Overview { at, now, overview } => state.update_overview(at, now, overview),
        Reading::Part { part, data } => state.update_part(&part, data),
    }
}

fn handle(state: &mut State, event: Event) -> Option<Request> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => state.key(key),
        Event::Paste(text) => {
            state.paste(&text);
            None
        }
        Event::Resize(columns, rows) => {
            state.resize(columns, rows);
            None
        }
        _ => None,
    }
}
