//! The options of an option, in its parentheses: `unique(by = user, across_queues)`.

use proc_macro2::{Ident, TokenStream, TokenTree};
use syn::{Expr, Token, ext::IdentExt, parse::ParseStream};

use crate::{
    attr::{ends_after_equals, list},
    errors::Errors,
};

/// The words that an option accepts.
pub(crate) struct Words {
    /// The option.
    pub(crate) of: &'static str,
    /// Each word, and the value that it takes; `None` for a flag.
    pub(crate) known: &'static [(&'static str, Option<&'static str>)],
}

/// The words of `unique`.
pub(crate) const UNIQUE: Words = Words {
    of: "unique",
    known: &[
        (
            "by",
            Some("a parameter, several such as `(user, kind)`, or `()` for none"),
        ),
        (
            "until",
            Some(r#""start", "done", a duration such as "1h", or `done_or("24h")`"#),
        ),
        (
            "on_conflict",
            Some(r#""skip", "error", "replace" or "keep_last""#),
        ),
        ("debounce", Some(DURATION)),
        ("max_wait", Some(DURATION)),
        ("throttle", Some(DURATION)),
        ("hold_when_dead", Some(DURATION)),
        ("across_queues", None),
    ],
};

/// The words of `cron`, after the expression.
pub(crate) const CRON: Words = Words {
    of: "cron",
    known: &[
        ("every", Some(DURATION)),
        (
            "tz",
            Some(r#"a time zone in quotes, such as "Europe/Berlin""#),
        ),
        ("overlap", Some(r#""skip", "allow" or "queue_one""#)),
        ("catch_up", Some(r#""none", "last" or "all""#)),
        ("within", Some(DURATION)),
        ("splay", Some(DURATION)),
        (
            "args",
            Some(r#"the arguments of the job, such as `(7, "all")`"#),
        ),
        ("name", Some(r#"a name in quotes, such as "nightly""#)),
    ],
};

const DURATION: &str = r#"a duration in quotes, such as "5s", "10m" or "1d""#;

/// One word: `name = value`, or a flag.
pub(crate) struct Word {
    /// Its name, which is known.
    pub(crate) name: Ident,
    /// Its value, which may be of the wrong kind; `None` for a flag.
    pub(crate) value: Option<Expr>,
}

impl Words {
    /// Reads the content of the parentheses. Reports and skips what is no word of this option, or
    /// is repeated.
    pub(crate) fn read(&self, tokens: TokenStream, errors: &mut Errors) -> Vec<Word> {
        let mut words: Vec<Word> = Vec::new();
        for word in list(tokens, errors, |input| self.word(input)) {
            if words.iter().any(|other| other.name == word.name) {
                errors.push(&word.name, format!("`{}` is given twice", word.name));
            } else {
                words.push(word);
            }
        }
        words
    }

    fn word(&self, input: ParseStream<'_>) -> syn::Result<Word> {
        let ahead = input.fork();
        let Ok(name) = input.call(Ident::parse_any) else {
            let found: TokenTree = ahead.parse()?;
            let message = format!(
                "expected an option of `{}`, found `{found}`; {}",
                self.of,
                self.accepted()
            );
            return Err(syn::Error::new_spanned(found, message));
        };
        let error = |message| Err(syn::Error::new_spanned(&name, message));
        let text = name.to_string();
        let Some((_, takes)) = self.known.iter().find(|(known, _)| *known == text) else {
            return error(self.unknown(&text));
        };
        match takes {
            None if input.peek(Token![=]) => {
                error(format!("`{name}` takes no value: write `{name}`"))
            }
            None => Ok(Word { name, value: None }),
            Some(takes) if !input.peek(Token![=]) || ends_after_equals(input) => error(format!(
                "`{name}` needs a value: write `{name} = ...` with {takes}"
            )),
            Some(_) => {
                input.parse::<Token![=]>()?;
                let value = Some(input.parse()?);
                Ok(Word { name, value })
            }
        }
    }

    fn unknown(&self, name: &str) -> String {
        let hint = nearest(name, self.known.iter().map(|(known, _)| *known))
            .map_or_else(String::new, |known| format!(" (did you mean `{known}`?)"));
        format!(
            "unknown option `{name}` of `{}`{hint}; {}",
            self.of,
            self.accepted()
        )
    }

    fn accepted(&self) -> String {
        let names: Vec<String> = self
            .known
            .iter()
            .map(|(name, _)| format!("`{name}`"))
            .collect();
        format!("accepted: {}", names.join(", "))
    }

    /// The value that the word takes.
    pub(crate) fn takes(&self, name: &Ident) -> &'static str {
        let known = self.known.iter().find(|(known, _)| name == known);
        known.and_then(|(_, takes)| *takes).unwrap_or_default()
    }
}

/// The known name that is most like this one, if any is.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::jaro_winkler(name, known), known))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(similarity, _)| *similarity > 0.75)
        .map(|(_, known)| known)
}

/// Where to write an unknown option: a word outside of its option, or an option of Sidekiq.
pub(crate) fn option_elsewhere(name: &str) -> Option<String> {
    match name {
        "unique_for" => Some(
            "write `unique`, which needs no time; or `unique(until = done_or(\"1h\"))` if other programs run the class, too"
                .to_owned(),
        ),
        "unique_until" => Some(
            "write `unique(until = \"start\")` or `unique(until = \"done\")`".to_owned(),
        ),
        _ => {
            let (_, takes) = UNIQUE.known.iter().find(|(known, _)| *known == name)?;
            let value = if takes.is_some() { " = ..." } else { "" };
            Some(format!("write `unique({name}{value})`"))
        }
    }
}
