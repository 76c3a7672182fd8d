//! What each key does: [`State::key`].

use std::cell::Cell;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use verk_core::storage::{JobSet, ProcessSignal, Source};

use super::{
    act::Act,
    state::{Detail, Opened, Pane, Question, Request, State},
};
use crate::{commands::Verb, output::Tone};

/// The longest filter, in characters.
const MAX_FILTER: usize = 200;

/// The keys, for the help.
pub(super) const HELP: [(&str, &str); 18] = [
    ("1 to 6, Tab", "another tab"),
    ("j k, arrows", "the next row, the one before; or scroll"),
    ("PgDn PgUp", "a screen further down, up"),
    ("n b", "the next page of a list, the one before"),
    ("Home End", "the first row, the last"),
    (
        "Enter",
        "open: the jobs of a queue, a job, a process, a group",
    ),
    ("Esc", "back; clears the filter"),
    (
        "/",
        "filter; for jobs also class:NAME queue:NAME error:TEXT",
    ),
    ("p", "pause the queue on all nodes, or resume it"),
    ("r", "run the job now"),
    ("d", "delete the job; asks"),
    ("x", "kill the job: move it to the dead set; asks"),
    (
        "Q S",
        "quiet the process, so that it starts no more jobs; stop it; asks",
    ),
    (
        "g",
        "retries and dead jobs by class and error, or one by one",
    ),
    ("s", "sort queues by name, waiting, oldest, rate"),
    ("F5, R", "read everything again now"),
    ("Ctrl-L", "draw everything again"),
    ("q, Ctrl-C", "quit"),
];

impl State {
    /// Does what a key means where the person is. What only the program can do is returned.
    pub(super) fn key(&mut self, key: KeyEvent) -> Option<Request> {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Char('c') if is_control => return Some(Request::Quit),
            KeyCode::Char('l') if is_control => return Some(Request::Redraw),
            _ => {}
        }
        let code = match key.code {
            // Other keys with Control or Alt mean nothing. AltGr sends both.
            KeyCode::Char(_) if is_control != key.modifiers.contains(KeyModifiers::ALT) => {
                return None;
            }
            code => code,
        };
        self.message = None;
        if let Some(Question { act, .. }) = self.question.take() {
            return match code {
                KeyCode::Char('y' | 'Y') => self.start(act),
                _ => {
                    self.say(Tone::Plain, "nothing was changed");
                    None
                }
            };
        }
        if self.input.is_some() {
            self.type_filter(code);
            return None;
        }
        if self.help.is_some() {
            self.scroll_help(code);
            return None;
        }
        if self.moves(code) {
            return None;
        }
        match code {
            KeyCode::Char('q') => return self.quit(),
            KeyCode::Char('?') | KeyCode::F(1) => self.help = Some(Cell::new(0)),
            KeyCode::Char('R') | KeyCode::F(5) => self.read_again(),
            KeyCode::Char('p') => return self.pause(),
            KeyCode::Char('r') => return self.change_job(Verb::Run),
            KeyCode::Char('d') | KeyCode::Delete => return self.change_job(Verb::Delete),
            KeyCode::Char('x') => return self.change_job(Verb::Kill),
            KeyCode::Char('Q') => return self.signal(ProcessSignal::Quiet),
            KeyCode::Char('S') => return self.signal(ProcessSignal::Stop),
            KeyCode::Char('/') if self.detail.is_none() => {
                self.input = Some(self.filter().to_owned());
            }
            KeyCode::Char('g') => self.group(),
            KeyCode::Char('s') if self.pane == Pane::Queues => {
                self.sort = self.sort.next();
                self.follow(Pane::Queues);
            }
            KeyCode::Enter => self.open(),
            KeyCode::Esc | KeyCode::Backspace => self.back(),
            _ => {}
        }
        None
    }

    /// A pasted text is never a key.
    pub(super) fn paste(&mut self, text: &str) {
        let line = text.lines().next().unwrap_or_default();
        for char in line.chars() {
            self.type_filter(KeyCode::Char(char));
        }
    }

    fn type_filter(&mut self, code: KeyCode) {
        let Some(input) = &mut self.input else { return };
        match code {
            KeyCode::Char(char) if input.chars().count() < MAX_FILTER && !char.is_control() => {
                input.push(char);
            }
            KeyCode::Backspace => {
                input.pop();
            }
            KeyCode::Enter => {
                if let Some(filter) = self.input.take() {
                    self.set_filter(filter.trim().to_owned());
                }
            }
            KeyCode::Esc => self.input = None,
            _ => {}
        }
    }

    /// Scrolls the page of the keys. Any other key closes it.
    fn scroll_help(&mut self, code: KeyCode) {
        let by = self.rows_of(code);
        self.help = self.help.take().filter(|_| by.is_some());
        if let (Some(scroll), Some(by)) = (&self.help, by) {
            scroll.set(scroll.get().saturating_add_signed(by));
        }
    }

    /// How many rows a key moves.
    fn rows_of(&self, code: KeyCode) -> Option<isize> {
        let page = isize::try_from(self.select().rows().max(1)).unwrap_or(isize::MAX);
        Some(match code {
            KeyCode::Down | KeyCode::Char('j') => 1,
            KeyCode::Up | KeyCode::Char('k') => -1,
            KeyCode::PageDown | KeyCode::Char(' ') => page,
            KeyCode::PageUp => -page,
            KeyCode::End | KeyCode::Char('G') => isize::MAX,
            KeyCode::Home => isize::MIN,
            _ => return None,
        })
    }

    /// Moves to another tab, row or page. Returns whether the key does that.
    fn moves(&mut self, code: KeyCode) -> bool {
        match code {
            KeyCode::Char(digit @ '1'..='6') => {
                let tabs = Pane::TABS.iter().zip('1'..);
                for (tab, _) in tabs.filter(|(_, number)| *number == digit) {
                    self.show(*tab);
                }
            }
            KeyCode::Tab => self.turn_tab(1),
            KeyCode::BackTab => self.turn_tab(Pane::TABS.len() - 1),
            KeyCode::Char('n') | KeyCode::Right => self.turn_page(true, false),
            KeyCode::Char('b') | KeyCode::Left => self.turn_page(false, false),
            code => {
                let Some(by) = self.rows_of(code) else {
                    return false;
                };
                self.step(by);
            }
        }
        true
    }

    fn turn_tab(&mut self, by: usize) {
        let tab = self.pane.tab();
        let at = Pane::TABS.iter().position(|other| *other == tab);
        let next = Pane::TABS.iter().cycle().nth(at.unwrap_or(0) + by);
        self.show(next.copied().unwrap_or_default());
    }

    /// Moves by rows, and at the end of a page to the next one.
    fn step(&mut self, by: isize) {
        if by == isize::MIN && self.shows_entries() && self.list.number > 1 {
            self.list.first();
            self.choice_mut().select.reset();
            return;
        }
        let is_end = by == isize::MAX || by == isize::MIN;
        if !self.step_here(by) && !is_end {
            self.turn_page(by > 0, true);
        }
    }

    fn step_here(&mut self, by: isize) -> bool {
        match &mut self.detail {
            Some(detail) => {
                let scroll = detail.scroll.get();
                detail.scroll.set(scroll.saturating_add_signed(by));
                true
            }
            None => self.choice_mut().select.step(by),
        }
    }

    /// Whether the rows are jobs of a list with pages.
    fn shows_entries(&self) -> bool {
        self.detail.is_none() && self.pane.is_list() && self.set().is_none()
    }

    fn turn_page(&mut self, forward: bool, to_end: bool) {
        if !self.shows_entries() {
            return;
        }
        if forward {
            if self.list.next() {
                self.choice_mut().select.reset();
            }
        } else if self.list.previous() {
            let select = &mut self.choice_mut().select;
            if to_end {
                select.reset_to_end();
            } else {
                select.reset();
            }
        }
    }

    fn quit(&mut self) -> Option<Request> {
        if let Some(act) = &self.busy {
            let text = format!("{} is not done yet: Ctrl-C quits anyway", act.phrase());
            self.say(Tone::Warning, text);
            return None;
        }
        Some(Request::Quit)
    }

    fn open(&mut self) {
        let Some(at) = self.select().selected().filter(|_| self.detail.is_none()) else {
            return;
        };
        let opened = match self.pane {
            Pane::Queues => {
                if let Some(queue) = self.chosen_queue() {
                    self.show_queue(queue);
                }
                return;
            }
            Pane::Running => {
                let job = self.running_jobs().get(at).copied().cloned();
                job.map(|job| Opened::Running(Box::new(job)))
            }
            Pane::Processes => {
                let identity = self.chosen_process().map(str::to_owned);
                identity.map(Opened::Process)
            }
            Pane::Retries | Pane::Dead | Pane::Scheduled | Pane::Jobs => {
                if self.set().is_some() {
                    return self.open_group(at);
                }
                let entry = self.chosen_entry().cloned();
                entry.map(|entry| Opened::Entry(Box::new(entry)))
            }
        };
        self.detail = opened.map(|of| Detail {
            of,
            scroll: Cell::new(0),
            why: None,
        });
        self.part_error = None;
    }

    /// Shows the jobs of a group.
    fn open_group(&mut self, at: usize) {
        let group = self.counted().and_then(|counted| counted.groups.get(at));
        let Some(group) = group else { return };
        // The filter has words. A class is compared whole, of an error a part is enough.
        let class = group.class.as_deref();
        let class = class.filter(|class| !class.contains(char::is_whitespace));
        let error = group.error_class.as_deref();
        let error = error.and_then(|error| error.split_whitespace().next());
        let words = [
            class.map(|class| format!("class:{class}")),
            error.map(|error| format!("error:{error}")),
        ];
        let filter: Vec<String> = words.into_iter().flatten().collect();
        if filter.is_empty() {
            self.say(Tone::Warning, "no filter finds these: press g for all jobs");
            return;
        }
        self.set_filter(filter.join(" "));
    }

    fn back(&mut self) {
        if self.detail.take().is_some() {
            self.part_error = None;
        } else if !self.filter().is_empty() {
            self.set_filter(String::new());
        } else if self.pane == Pane::Jobs {
            self.show(Pane::Queues);
        }
    }

    fn group(&mut self) {
        if self.detail.is_some() || self.pane.groups_of().is_none() {
            self.say(Tone::Plain, "g groups retries and dead jobs: tabs 4 and 5");
            return;
        }
        let is_grouped = !self.is_grouped;
        self.show(self.pane);
        self.is_grouped = is_grouped;
    }

    fn pause(&mut self) -> Option<Request> {
        let Some(queue) = self.chosen_queue() else {
            let text = if self.pane == Pane::Queues && self.select().is_lost() {
                "the selected queue is gone: select another one"
            } else {
                "p pauses a queue: select one on tab 1"
            };
            self.say(Tone::Plain, text);
            return None;
        };
        let known = self.queue(&queue);
        let is_paused = known.is_some_and(|known| known.paused.is_some());
        self.ask(if is_paused {
            Act::Resume(queue)
        } else {
            Act::Pause(queue)
        })
    }

    fn change_job(&mut self, verb: Verb) -> Option<Request> {
        let Some(entry) = self.chosen_entry().cloned() else {
            let text = if self.set().is_some() && self.detail.is_none() {
                "open a group with Enter to change one job; `verk jobs` changes all that match"
            } else if self.select().is_lost() {
                "the selected job has moved on: select another one"
            } else {
                "select a job that waits: on tabs 4 to 6, or with Enter on a queue"
            };
            self.say(Tone::Warning, text);
            return None;
        };
        let refusal = match (verb, entry.source()) {
            (Verb::Run, Source::Queue(_)) => "it waits in its queue already",
            (Verb::Kill, Source::Set(JobSet::Dead)) => "it is in the dead set already",
            _ => return self.ask(Act::Job(verb, Box::new(entry))),
        };
        self.say(Tone::Plain, refusal);
        None
    }

    fn signal(&mut self, signal: ProcessSignal) -> Option<Request> {
        let Some(identity) = self.chosen_process().map(str::to_owned) else {
            self.say(
                Tone::Plain,
                "Q and S are for processes: select one on tab 3",
            );
            return None;
        };
        self.ask(Act::Signal(signal, identity))
    }

    /// Asks first, if the change cannot be undone as easily.
    fn ask(&mut self, act: Act) -> Option<Request> {
        let Some(text) = act.question() else {
            return self.start(act);
        };
        self.question = Some(Question { text, act });
        None
    }

    fn start(&mut self, act: Act) -> Option<Request> {
        if let Some(busy) = &self.busy {
            let text = format!("{} is not done yet", busy.phrase());
            self.say(Tone::Warning, text);
            return None;
        }
        self.busy = Some(act.clone());
        Some(Request::Act(act))
    }
}
