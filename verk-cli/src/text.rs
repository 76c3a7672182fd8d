//! Numbers and names as a terminal shows them.

use std::borrow::Cow;

/// A whole number in groups of three digits: `98,567`.
pub(crate) fn count(number: impl TryInto<u64>) -> String {
    let digits = number.try_into().unwrap_or(u64::MAX).to_string();
    let mut text = String::with_capacity(digits.len() * 2);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 job`, `2,000 jobs`.
pub(crate) fn jobs(number: impl TryInto<u64>) -> String {
    let number = number.try_into().unwrap_or(u64::MAX);
    format!(
        "{} {}",
        count(number),
        if number == 1 { "job" } else { "jobs" }
    )
}

/// A text of another program for a terminal: what would move the cursor, or turn the direction of
/// the text around, is written as its number.
pub(crate) fn clean(text: &str) -> String {
    let mut cleaned = String::with_capacity(text.len());
    for char in text.chars() {
        if is_harmless(char) {
            cleaned.push(char);
        } else {
            cleaned.extend(char.escape_default());
        }
    }
    cleaned
}

/// As [`clean`], with its line breaks.
pub(crate) fn clean_lines(text: &str) -> String {
    text.lines().map(clean).collect::<Vec<_>>().join("\n")
}

/// JSON in which what would steer a terminal is written as `\\u....`: the same JSON for a program.
pub(crate) fn harmless_json(json: &str) -> Cow<'_, str> {
    if json.chars().all(is_harmless) {
        return Cow::Borrowed(json);
    }
    let mut escaped = String::with_capacity(json.len());
    for char in json.chars() {
        if is_harmless(char) {
            escaped.push(char);
        } else {
            let mut units = [0; 2];
            for unit in char.encode_utf16(&mut units) {
                escaped.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Cow::Owned(escaped)
}

fn is_harmless(char: char) -> bool {
    let steers = matches!(char,
        '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
    !char.is_control() && !steers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_have_groups_of_three() {
        for (number, text) in [
            (0_u64, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (1_204_331, "1,204,331"),
        ] {
            assert_eq!(count(number), text);
        }
        assert_eq!((&*jobs(1_u64), &*jobs(0_usize)), ("1 job", "0 jobs"));
    }

    #[test]
    fn json_stays_the_same_json() {
        let text = "a\u{9b}31m\u{7f}\u{202e}\u{e0001}é";
        let json = serde_json::to_string(text).unwrap();
        let harmless = harmless_json(&json);
        assert_eq!(harmless, "\"a\\u009b31m\\u007f\\u202e\\udb40\\udc01é\"");
        assert_eq!(serde_json::from_str::<String>(&harmless).unwrap(), text);
    }

    #[test]
    fn nothing_that_steers_a_terminal_is_shown() {
        for (text, shown) in [
            ("\u{1b}[2J\u{7}", "\\u{1b}[2J\\u{7}"),
            ("a\u{202e}b", "a\\u{202e}b"),
            ("one\r\ntwo\tthree", "one\\r\\ntwo\\tthree"),
            ("\u{9b}31m", "\\u{9b}31m"),
            ("日本 é 👍", "日本 é 👍"),
        ] {
            assert_eq!(clean(text), shown);
        }
        assert_eq!(clean_lines("a\u{1b}\nb"), "a\\u{1b}\nb");
    }
}
