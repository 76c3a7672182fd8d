//! JSON as people read it, with every digit as it is stored: [`pretty`].

/// From this depth on, a line is not indented any further.
const MAX_INDENT: usize = 24;

/// The JSON text in lines, at most `max_bytes` of it. Nothing is decoded, so that numbers and
/// escapes stay what they are; text that is no JSON stays readable.
#[must_use]
pub fn pretty(json: &str, max_bytes: usize) -> String {
    let mut out = String::new();
    let mut depth = 0_usize;
    let mut in_text = false;
    let mut escaped = false;
    let mut opened = false;
    for char in json.chars() {
        if out.len() > max_bytes {
            out.push_str("\n… cut: it is longer than is shown here");
            break;
        }
        if in_text {
            out.push(char);
            if escaped {
                escaped = false;
            } else if char == '\\' {
                escaped = true;
            } else if char == '"' {
                in_text = false;
            }
            continue;
        }
        if char.is_ascii_whitespace() {
            continue;
        }
        let closes = matches!(char, ']' | '}');
        if closes {
            depth = depth.saturating_sub(1);
        }
        // An empty list or object stays in its line.
        if opened != closes {
            line(&mut out, depth);
        }
        opened = matches!(char, '[' | '{');
        out.push(char);
        match char {
            '"' => in_text = true,
            '[' | '{' => depth += 1,
            ',' => line(&mut out, depth),
            ':' => out.push(' '),
            _ => {}
        }
    }
    out
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth.min(MAX_INDENT)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stay_as_they_are() {
        let json = r#"["a\"[",{"n":12345678901234567890.10,"e":[],"o":{}},true]"#;
        let expected = "[\n  \"a\\\"[\",\n  {\n    \"n\": 12345678901234567890.10,\n    \"e\": [],\n    \"o\": {}\n  },\n  true\n]";
        assert_eq!(pretty(json, 10_000), expected);
        assert_eq!(pretty("[]", 10), "[]");
        assert_eq!(pretty("", 10), "");
    }

    #[test]
    fn hostile_text_stays_bounded() {
        let deep = "[".repeat(100_000);
        assert!(pretty(&deep, 50_000).len() < 51_000);
        assert!(pretty("]]]}}}", 100).len() < 100);
        let long = format!("[\"{}\"]", "é".repeat(1_000_000));
        assert!(pretty(&long, 1_000).ends_with("shown here"));
    }
}
