//! The options in the parentheses.

use std::{collections::HashSet, time::Duration};

use proc_macro2::Ident;
use syn::{Expr, ExprLit, ExprPath, Lit, Path};

use super::{names::hidden_by, shown};
use crate::{
    attr::{RawOption, takes, unknown_option},
    errors::Errors,
    model::Options,
};

/// The longest name of a queue or class, in bytes; as `verk_core::names::MAX_NAME_BYTES`.
const MAX_NAME_BYTES: usize = 256;

/// The options. An option with an error is left out.
pub(super) fn options(raw: &[RawOption], errors: &mut Errors) -> Options {
    let mut options = Options::default();
    let mut seen = HashSet::new();
    for option in raw {
        let name = option.name.to_string();
        if !seen.insert(name.clone()) && name != "cron" {
            errors.push(&option.name, format!("`{name}` is given twice"));
            continue;
        }
        // `unique` and `cron` have none.
        let Some(value) = &option.value else { continue };
        let value = Value {
            name: &name,
            expr: ungrouped(value),
            errors,
        };
        match name.as_str() {
            "queue" => options.queue = value.name("queue"),
            "max_retry_count" => options.max_retry_count = value.count(),
            "class" => options.class = value.name("class"),
            "name" => options.name = value.struct_name(),
            "retry_at" => options.retry_at = value.path(),
            "retry_in" => options.retry_in = value.path(),
            "timeout" => options.timeout = value.duration(),
            "dead" => options.dead = value.bool(),
            "tags" => options.tags = value.tags(),
            "backtrace" => options.backtrace = value.bool(),
            "error_class" => options.error_class = value.path(),
            "crate" => options.verk = value.crate_path(),
            "unique" | "cron" => value.no_value(),
            // `cron` reads it.
            "every" => {}
            _ => errors.push(&option.name, unknown_option(&name, option.value.as_ref())),
        }
    }
    if let (Some(_), Some(_)) = (&options.retry_at, &options.retry_in) {
        let second = raw
            .iter()
            .rfind(|option| option.name == "retry_at" || option.name == "retry_in");
        errors.push(
            second.map(|option| &option.name),
            "`retry_at` and `retry_in` both say when a failed job runs again: keep one",
        );
        options.retry_at = None;
    }
    options
}

/// The value of an option, which is read as the kind that the option takes.
struct Value<'a> {
    name: &'a str,
    expr: &'a Expr,
    errors: &'a mut Errors,
}

impl Value<'_> {
    fn wrong_kind<T>(self) -> Option<T> {
        let (name, expr) = (self.name, self.expr);
        let takes = takes(name).unwrap_or_default();
        self.errors.push(
            expr,
            format!("`{name}` takes {takes}, found `{}`", shown(expr)),
        );
        None
    }

    /// For an option that takes other options in parentheses.
    fn no_value(self) {
        self.wrong_kind::<()>();
    }

    fn bool(self) -> Option<bool> {
        match self.expr {
            Expr::Lit(ExprLit {
                lit: Lit::Bool(value),
                ..
            }) => Some(value.value),
            _ => self.wrong_kind(),
        }
    }

    fn count(self) -> Option<u32> {
        match self.expr {
            Expr::Lit(ExprLit {
                lit: Lit::Int(value),
                ..
            }) => value.base10_parse().ok().or_else(|| self.wrong_kind()),
            _ => self.wrong_kind(),
        }
    }

    fn name(self, what: &str) -> Option<String> {
        let Some(name) = text(self.expr) else {
            return self.wrong_kind();
        };
        match name_mistake(&name) {
            None => Some(name),
            Some(mistake) => {
                self.errors.push(
                    self.expr,
                    format!("a {what} name has 1 to {MAX_NAME_BYTES} bytes and no control characters: this one {mistake}"),
                );
                None
            }
        }
    }

    fn struct_name(self) -> Option<Ident> {
        let name = match self.expr {
            Expr::Lit(ExprLit {
                lit: Lit::Str(text),
                ..
            }) => text.parse::<Ident>().ok(),
            _ => None,
        };
        let Some(name) = name else {
            return self.wrong_kind();
        };
        match hidden_by(&name) {
            None => Some(name),
            Some(prelude) => {
                self.errors.push(
                    self.expr,
                    format!("a struct `{name}` hides the `{name}` of {prelude}: choose another name, such as \"{name}Job\""),
                );
                None
            }
        }
    }

    fn path(self) -> Option<ExprPath> {
        match self.expr {
            Expr::Path(path) if path.attrs.is_empty() => Some(path.clone()),
            _ => self.wrong_kind(),
        }
    }

    fn duration(self) -> Option<Duration> {
        let duration = text(self.expr).and_then(|text| humantime::parse_duration(&text).ok());
        match duration {
            Some(Duration::ZERO) => {
                self.errors.push(
                    self.expr,
                    "a `timeout` of zero would fail every job: leave it out for no limit",
                );
                None
            }
            Some(duration) => Some(duration),
            None => self.wrong_kind(),
        }
    }

    fn tags(self) -> Option<Vec<String>> {
        let Expr::Array(array) = self.expr else {
            return self.wrong_kind();
        };
        let mut tags = Vec::new();
        for expr in &array.elems {
            match text(expr) {
                Some(tag) => tags.push(tag),
                None => self.errors.push(
                    expr,
                    format!("a label is text in quotes, found `{}`", shown(expr)),
                ),
            }
        }
        Some(tags)
    }

    /// The path may also be without quotes: a `macro_rules!` macro can only write `$crate::verk` in
    /// this way.
    fn crate_path(self) -> Option<Path> {
        if let Expr::Path(ExprPath {
            attrs,
            qself: None,
            path,
        }) = self.expr
            && attrs.is_empty()
        {
            return Some(path.clone());
        }
        let Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) = self.expr
        else {
            return self.wrong_kind();
        };
        text.parse_with(Path::parse_mod_style)
            .ok()
            .or_else(|| self.wrong_kind())
    }
}

/// An expression that came through a `macro_rules!` macro is in a group without delimiters.
pub(super) fn ungrouped(expr: &Expr) -> &Expr {
    match expr {
        Expr::Group(group) => ungrouped(&group.expr),
        expr => expr,
    }
}

pub(super) fn text(expr: &Expr) -> Option<String> {
    match ungrouped(expr) {
        Expr::Lit(ExprLit {
            lit: Lit::Str(text),
            ..
        }) => Some(text.value()),
        _ => None,
    }
}

fn name_mistake(name: &str) -> Option<String> {
    if name.is_empty() {
        Some("is empty".to_owned())
    } else if name.len() > MAX_NAME_BYTES {
        Some(format!("has {} bytes", name.len()))
    } else {
        let control = name.chars().find(|c| c.is_control())?;
        Some(format!("contains `{}`", control.escape_default()))
    }
}
