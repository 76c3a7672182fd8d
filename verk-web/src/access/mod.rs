//! Who may see and do what: [`Access`], [`Role`] and [`Visitor`].

mod origin;
mod password;
mod secret;

use std::{fmt, sync::Arc};

use axum::http::{HeaderMap, header::AUTHORIZATION, request::Parts};
use base64::{Engine as _, prelude::BASE64_STANDARD};

pub(crate) use self::origin::comes_from_this_page;
pub use self::password::InvalidHash;
use self::{
    password::{Answer, Password},
    secret::Secret,
};

/// What a visitor may do. Each role may also do what the roles before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// See every page. Arguments of jobs are hidden unless
    /// [`show_args`](crate::Dashboard::show_args) is set.
    View,
    /// Pause and resume queues, run jobs now, reschedule them, and quiet processes.
    Operate,
    /// Delete and kill jobs, clear queues, stop processes, and enqueue jobs.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::View => "view",
            Self::Operate => "operate",
            Self::Admin => "admin",
        })
    }
}

/// Who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visitor {
    /// What the visitor may do.
    pub role: Role,
    /// The name for the audit; `None` if it is not known.
    pub name: Option<String>,
}

impl Visitor {
    /// Makes a visitor without a name.
    #[must_use]
    pub fn new(role: Role) -> Self {
        Self { role, name: None }
    }

    /// Sets the name, which the audit shows.
    #[must_use]
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }
}

impl From<Role> for Visitor {
    fn from(role: Role) -> Self {
        Self::new(role)
    }
}

/// Who may use the dashboard. There is no default: each program has to say it.
///
/// ```
/// use verk_web::{Access, Role, Visitor};
///
/// // Everybody who reaches the page may look at it.
/// let _ = Access::read_only();
/// // A token, for programs (Bearer) and for people (as the password of Basic).
/// let _ = Access::token("a long random text");
/// // Your own layer in front of the page knows who it is.
/// let _ = Access::by(|request| {
///     let user = request.headers.get("x-forwarded-user")?.to_str().ok()?;
///     Some(Visitor::new(Role::Operate).named(user))
/// });
/// ```
#[derive(Clone)]
pub struct Access(Kind);

#[derive(Clone)]
enum Kind {
    ReadOnly,
    Token(Secret),
    Basic(Arc<Password>),
    By(Arc<Decide>),
    Open,
}

type Decide = dyn Fn(&Parts) -> Option<Visitor> + Send + Sync;

impl Access {
    /// Everybody may see the pages; nobody may change anything.
    #[must_use]
    pub fn read_only() -> Self {
        Self(Kind::ReadOnly)
    }

    /// Whoever sends `secret` is an [admin](Role::Admin): as `Authorization: Bearer`, or as the
    /// password of Basic with any user name. An empty secret admits nobody.
    #[must_use]
    pub fn token(secret: impl AsRef<str>) -> Self {
        Self(Kind::Token(Secret::new(secret.as_ref())))
    }

    /// One user with a password, by Basic, is an [admin](Role::Admin). `hash` is a PHC string of
    /// Argon2, such as `argon2` or `htpasswd`-like tools print; the password itself is stored
    /// nowhere.
    ///
    /// A hash takes some ten milliseconds to check. A password that fitted is remembered in memory
    /// by a keyed hash. After 10 failures within a minute, further unknown passwords are
    /// refused with the status 429 until the minute is over.
    ///
    /// # Errors
    ///
    /// When `hash` is no PHC string of Argon2.
    pub fn basic(user: impl Into<String>, hash: &str) -> Result<Self, InvalidHash> {
        Ok(Self(Kind::Basic(Arc::new(Password::new(
            user.into(),
            hash,
        )?))))
    }

    /// A function decides for each request; `None` refuses it with the status 401. If it panics,
    /// the request is refused.
    #[must_use]
    pub fn by(decide: impl Fn(&Parts) -> Option<Visitor> + Send + Sync + 'static) -> Self {
        Self(Kind::By(Arc::new(decide)))
    }

    /// Everybody is an [admin](Role::Admin): for programs that put a layer of their own before the
    /// dashboard. [`serve`](crate::serve) refuses it on an address that others reach.
    #[must_use]
    pub fn open() -> Self {
        Self(Kind::Open)
    }

    /// Whether each visitor has to prove who it is.
    pub(crate) fn asks(&self) -> bool {
        matches!(self.0, Kind::Token(_) | Kind::Basic(_) | Kind::By(_))
    }

    /// Decides who sends the request.
    pub(crate) async fn decide(&self, request: &Parts, now: std::time::Instant) -> Decision {
        let sent = Sent::read(&request.headers);
        match &self.0 {
            Kind::ReadOnly => Decision::ambient(Role::View),
            Kind::Open => Decision::ambient(Role::Admin),
            Kind::By(decide) => {
                let decided = verk_core::guard::call(|| decide(request)).flatten();
                decided.map_or(Decision::Unknown, |visitor| Decision::Known {
                    visitor,
                    ambient: !matches!(sent, Sent::Bearer(_)),
                })
            }
            Kind::Token(secret) => match sent {
                Sent::Bearer(token) if secret.is(&token) => Decision::Known {
                    visitor: Visitor::new(Role::Admin).named("token"),
                    ambient: false,
                },
                // The user name is only for the audit.
                Sent::Basic { user, password } if secret.is(&password) => Decision::Known {
                    visitor: Visitor::new(Role::Admin).named(if user.is_empty() {
                        "token".to_owned()
                    } else {
                        user
                    }),
                    ambient: true,
                },
                _ => Decision::Unknown,
            },
            Kind::Basic(known) => match sent {
                Sent::Basic { user, password } => match known.check(&user, password, now).await {
                    Answer::Right => Decision::Known {
                        visitor: Visitor::new(Role::Admin).named(user),
                        ambient: true,
                    },
                    Answer::Wrong => Decision::Unknown,
                    Answer::TooMany => Decision::TooMany,
                },
                _ => Decision::Unknown,
            },
        }
    }

    /// The value of `WWW-Authenticate` for a request that is refused.
    pub(crate) fn challenge(&self) -> Option<&'static str> {
        match self.0 {
            Kind::Token(_) | Kind::Basic(_) => Some("Basic realm=\"verk\", charset=\"UTF-8\""),
            Kind::ReadOnly | Kind::By(_) | Kind::Open => None,
        }
    }
}

impl fmt::Debug for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::ReadOnly => "Access(read only)",
            Kind::Token(_) => "Access(token)",
            Kind::Basic(_) => "Access(basic)",
            Kind::By(_) => "Access(by a function)",
            Kind::Open => "Access(open)",
        })
    }
}

/// The answer to who sends a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// A visitor. `ambient` says that a browser sends the proof by itself, so that a page of
    /// somebody else could make it send a request.
    Known { visitor: Visitor, ambient: bool },
    /// Nobody that is known.
    Unknown,
    /// Too many passwords were wrong; this one was not checked.
    TooMany,
}

impl Decision {
    fn ambient(role: Role) -> Self {
        Self::Known {
            visitor: Visitor::new(role),
            ambient: true,
        }
    }
}

/// The credentials of a request.
#[derive(Debug, PartialEq, Eq)]
enum Sent {
    Bearer(String),
    Basic { user: String, password: String },
    Nothing,
}

impl Sent {
    fn read(headers: &HeaderMap) -> Self {
        let text = headers
            .get(AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.split_once(' '));
        let Some((scheme, value)) = text else {
            return Self::Nothing;
        };
        let value = value.trim();
        if scheme.eq_ignore_ascii_case("bearer") {
            return Self::Bearer(value.to_owned());
        }
        if !scheme.eq_ignore_ascii_case("basic") {
            return Self::Nothing;
        }
        let decoded = BASE64_STANDARD.decode(value).ok();
        let decoded = decoded.and_then(|bytes| String::from_utf8(bytes).ok());
        match decoded.as_deref().and_then(|text| text.split_once(':')) {
            Some((user, password)) => Self::Basic {
                user: user.to_owned(),
                password: password.to_owned(),
            },
            None => Self::Nothing,
        }
    }
}

#[cfg(test)]
mod tests;
