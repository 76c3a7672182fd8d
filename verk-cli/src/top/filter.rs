//! Which rows a person wants to see: [`of_jobs`] and [`has`].

use verk_core::manage::Filter;

/// The filter of a list of jobs: words as `class:NAME`, `queue:NAME` and `error:TEXT`. All other
/// words together are a text in the payload.
pub(super) fn of_jobs(text: &str) -> Filter {
    let mut filter = Filter::new();
    let mut others = Vec::new();
    for word in text.split_whitespace() {
        filter = match word.split_once(':') {
            Some(("class", name)) if !name.is_empty() => filter.class(name),
            Some(("queue", name)) if !name.is_empty() => filter.queue(name),
            Some(("error", text)) if !text.is_empty() => filter.error(text),
            _ => {
                others.push(word);
                filter
            }
        };
    }
    if others.is_empty() {
        return filter;
    }
    filter.text(others.join(" "))
}

/// Whether one of these texts has the filter's text, in any case of its letters.
pub(super) fn has<'a>(filter: &str, texts: impl IntoIterator<Item = &'a str>) -> bool {
    let filter = filter.to_lowercase();
    let mut texts = texts.into_iter();
    filter.is_empty() || texts.any(|text| text.to_lowercase().contains(&filter))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_say_what_they_are_of() {
        let all = Filter::new();
        for (text, filter) in [
            ("", all.clone()),
            ("class:Charge", all.clone().class("Charge")),
            (
                " error:Timeout  queue:mailers ada lovelace",
                (all.clone().error("Timeout").queue("mailers")).text("ada lovelace"),
            ),
            ("class: http://x", all.clone().text("class: http://x")),
            ("class:A::B", all.class("A::B")),
        ] {
            assert!(of_jobs(text) == filter, "{text}");
        }
    }

    #[test]
    fn a_text_is_found_in_any_case() {
        assert!(has("MAIL", ["x", "mailers"]));
        assert!(has("", []));
        assert!(!has("mail", ["x"]));
    }
}
