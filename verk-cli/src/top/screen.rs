//! The terminal while the program draws on all of it: [`Screen`].

use std::{
    io::{self, Stdout, Write, stdout},
    panic::{self, PanicHookInfo},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crossterm::{
    cursor::Show,
    event::{self, DisableBracketedPaste, EnableBracketedPaste, Event},
    execute,
    style::force_color_output,
    terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
};
use ratatui::{Frame, Terminal, backend::CrosstermBackend, layout::Size};
use tokio::sync::mpsc::{self, error::TryRecvError};

/// How long the thread of the keys waits before it checks whether it should end.
const POLL: Duration = Duration::from_millis(200);

/// How many events may wait: more than a person types while a picture is drawn.
const EVENTS: usize = 256;

type Hook = dyn Fn(&PanicHookInfo<'_>) + Send + Sync;

/// The terminal in raw mode, with a screen of its own. It is put back when this is dropped, and
/// before the message of a panic is printed.
pub(super) struct Screen {
    terminal: Terminal<CrosstermBackend<Picture>>,
    events: mpsc::Receiver<io::Result<Event>>,
    restorer: Restorer,
}

impl Screen {
    pub(super) fn open(colors: bool) -> io::Result<Self> {
        // The caller has decided, by the arguments and the environment.
        force_color_output(colors);
        let restorer = Restorer::install();
        enable_raw_mode()?;
        // In a pasted text no letter is a key.
        execute!(stdout(), EnterAlternateScreen, EnableBracketedPaste)?;
        let terminal = Terminal::new(CrosstermBackend::new(Picture::new(&restorer.ended)))?;
        let events = listen(Arc::clone(&restorer.ended))?;
        Ok(Self {
            terminal,
            events,
            restorer,
        })
    }

    pub(super) fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(draw)?;
        Ok(())
    }

    /// Draws everything again with the next picture: another program may have written here.
    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Waits for a key, or a change of the size.
    pub(super) async fn next_event(&mut self) -> io::Result<Event> {
        self.events.recv().await.unwrap_or_else(|| Err(no_keys()))
    }

    /// The next event, if there is one.
    pub(super) fn waiting_event(&mut self) -> io::Result<Option<Event>> {
        match self.events.try_recv() {
            Ok(event) => event.map(Some),
            Err(TryRecvError::Empty) => Ok(None),
            Err(TryRecvError::Disconnected) => Err(no_keys()),
        }
    }

    /// Whether a panic put the terminal back already, on any thread.
    pub(super) fn has_panicked(&self) -> bool {
        self.restorer.ended.load(Ordering::Acquire)
    }
}

fn no_keys() -> io::Error {
    io::Error::other("the keys cannot be read any more")
}

/// Reads the keys on a thread of their own. It is not joined: where the terminal is gone, reading
/// may never return.
fn listen(ended: Arc<AtomicBool>) -> io::Result<mpsc::Receiver<io::Result<Event>>> {
    let (sender, receiver) = mpsc::channel(EVENTS);
    let read = move || {
        while !ended.load(Ordering::Acquire) {
            let event = match event::poll(POLL) {
                Ok(true) => event::read(),
                Ok(false) => continue,
                Err(error) => Err(error),
            };
            let is_end = event.is_err();
            if sender.blocking_send(event).is_err() || is_end {
                break;
            }
        }
    };
    thread::Builder::new()
        .name("verk-top-keys".to_owned())
        .spawn(read)?;
    Ok(receiver)
}

/// Puts the terminal back once: in a panic, or when it is dropped.
struct Restorer {
    /// Whether the terminal is back.
    ended: Arc<AtomicBool>,
    /// The hook of before.
    hook: Arc<Hook>,
}

impl Restorer {
    fn install() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let hook: Arc<Hook> = Arc::from(panic::take_hook());
        let restorer = Self { ended, hook };
        let (ended, hook) = (Arc::clone(&restorer.ended), Arc::clone(&restorer.hook));
        panic::set_hook(Box::new(move |info| {
            restore(&ended);
            hook(info);
        }));
        restorer
    }
}

impl Drop for Restorer {
    fn drop(&mut self) {
        restore(&self.ended);
        // A thread that panics may not change the hook.
        if !thread::panicking() {
            let hook = Arc::clone(&self.hook);
            panic::set_hook(Box::new(move |info| hook(info)));
        }
    }
}

/// Nobody is there to read of an error.
fn restore(ended: &AtomicBool) {
    if ended.swap(true, Ordering::AcqRel) {
        return;
    }
    let _ = execute!(stdout(), DisableBracketedPaste, LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Collects a picture, and sends it in one piece. What was not sent when it is dropped is
/// forgotten: after a panic it must not appear on the screen of the shell.
struct Picture {
    bytes: Vec<u8>,
    out: Stdout,
    ended: Arc<AtomicBool>,
}

impl Picture {
    fn new(ended: &Arc<AtomicBool>) -> Self {
        Self {
            bytes: Vec::new(),
            out: stdout(),
            ended: Arc::clone(ended),
        }
    }
}

impl Write for Picture {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let bytes = std::mem::take(&mut self.bytes);
        if self.ended.load(Ordering::Acquire) {
            return Ok(());
        }
        let mut out = self.out.lock();
        out.write_all(&bytes)?;
        out.flush()
    }
}
