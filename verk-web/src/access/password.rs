//! One user with a password: [`Password`].

use std::{
    fmt,
    time::{Duration, Instant},
};

use argon2::{Argon2, PasswordVerifier, password_hash::phc::PasswordHash};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;
use tokio::sync::Semaphore;

/// How many wrong passwords are checked within [`WINDOW`].
const MAX_FAILURES: u32 = 10;

const WINDOW: Duration = Duration::from_secs(60);

/// The text is no PHC string of Argon2, such as
/// `$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$...`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InvalidHash;

impl fmt::Display for InvalidHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the password hash is no PHC string of Argon2 ($argon2id$v=19$...)")
    }
}

impl std::error::Error for InvalidHash {}

/// The answer to a user name and a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Right,
    Wrong,
    /// Not checked, because too many were wrong.
    TooMany,
}

pub(super) struct Password {
    user: String,
    hash: String,
    /// The key of `known`, so that nobody can make a table for it.
    key: [u8; 32],
    state: Mutex<State>,
    /// One hash at a time: each needs 19 MiB and a core.
    turn: Semaphore,
}

#[derive(Default)]
struct State {
    /// The keyed hash of the user name and the password that fitted.
    known: Option<[u8; 32]>,
    failures: u32,
    /// When the first of `failures` happened.
    since: Option<Instant>,
}

impl Password {
    pub(super) fn new(user: String, hash: &str) -> Result<Self, InvalidHash> {
        let parsed = PasswordHash::new(hash).map_err(|_| InvalidHash)?;
        if !parsed.algorithm.as_str().starts_with("argon2") || parsed.hash.is_none() {
            return Err(InvalidHash);
        }
        let mut key = [0; 32];
        // A known key would let others guess what is remembered.
        getrandom::fill(&mut key).map_err(|_| InvalidHash)?;
        Ok(Self {
            user,
            hash: hash.to_owned(),
            key,
            state: Mutex::default(),
            turn: Semaphore::new(1),
        })
    }

    pub(super) async fn check(&self, user: &str, password: String, now: Instant) -> Answer {
        let sent = self.keyed(user, &password);
        if self.is_known(&sent) {
            return Answer::Right;
        }
        let Ok(_turn) = self.turn.acquire().await else {
            return Answer::TooMany;
        };
        if self.is_known(&sent) {
            return Answer::Right;
        }
        if !self.may_fail(now) {
            return Answer::TooMany;
        }
        let hash = self.hash.clone();
        let fits = tokio::task::spawn_blocking(move || {
            let parsed = PasswordHash::new(&hash);
            parsed.is_ok_and(|hash| {
                Argon2::default()
                    .verify_password(password.as_bytes(), &hash)
                    .is_ok()
            })
        });
        let fits = fits.await.unwrap_or(false);
        // After the password, so that the time says nothing of the user name.
        let is_user = bool::from(self.user.as_bytes().ct_eq(user.as_bytes()));
        let mut state = self.state.lock();
        if fits && is_user {
            state.known = Some(sent);
            return Answer::Right;
        }
        state.since.get_or_insert(now);
        state.failures = state.failures.saturating_add(1);
        Answer::Wrong
    }

    fn keyed(&self, user: &str, password: &str) -> [u8; 32] {
        let mut hash = Sha256::new();
        hash.update(self.key);
        hash.update(user.len().to_le_bytes());
        hash.update(user);
        hash.update(password);
        hash.finalize().into()
    }

    fn is_known(&self, sent: &[u8; 32]) -> bool {
        let known = self.state.lock().known;
        known.is_some_and(|known| bool::from(known.ct_eq(sent)))
    }

    /// Whether another password may be wrong. Forgets the failures of an earlier window.
    fn may_fail(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        let over = |since| now.saturating_duration_since(since) >= WINDOW;
        if state.since.is_some_and(over) {
            (state.failures, state.since) = (0, None);
        }
        state.failures < MAX_FAILURES
    }
}
