//! Readers against any input (feature `proptest`): [`fuzz()`].
//!
//! It needs no nightly compiler. It does not see which branch an input takes, so a corpus has an
//! input for each branch that matters.

use std::{
    env,
    panic::{AssertUnwindSafe, catch_unwind},
};

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
    test_runner::{Config, TestCaseError, TestError, TestRunner},
};

/// How many inputs are tried, unless `PROPTEST_CASES` says another number.
const CASES: u32 = 2_000;

/// Gives `read` every input of `corpus`, and then others that are made from them: cut, mixed, with
/// other bytes in between and with `words`, which may change what the reader does.
///
/// ```
/// use verk_testing::fuzz::{fuzz, lines};
///
/// fuzz(lines("[1,2]\n\\xff"), &["[", "1e999"], |input| {
///     let _ = std::str::from_utf8(input);
/// });
/// ```
///
/// # Panics
///
/// When `read` panics, with the shortest such line, to be added to the corpus.
pub fn fuzz(corpus: Vec<Vec<u8>>, words: &[&'static str], read: impl Fn(&[u8])) {
    for input in &corpus {
        read(input);
    }
    let config = match env::var_os("PROPTEST_CASES") {
        Some(_) => Config::default(),
        None => Config::with_cases(CASES),
    };
    let config = Config {
        failure_persistence: None,
        ..config
    };
    let result = TestRunner::new(config).run(&inputs(&corpus, words), |input| {
        catch_unwind(AssertUnwindSafe(|| read(&input)))
            .map_err(|_| TestCaseError::fail("the reader panicked"))
    });
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, input)) => {
            panic!("{reason}; for the corpus:\n{}", input.escape_ascii())
        }
        Err(error @ TestError::Abort(_)) => panic!("{error}"),
    }
}

/// The inputs in the text of a corpus: one in a line, with the escapes of
/// [`escape_ascii`](slice::escape_ascii).
///
/// # Panics
///
/// When a line has another escape.
#[must_use]
pub fn lines(corpus: &str) -> Vec<Vec<u8>> {
    corpus.lines().map(unescaped).collect()
}

/// A change of an input.
#[derive(Clone, Debug)]
enum Change {
    Cut(Index, Index),
    Insert(Index, Vec<u8>),
    /// Continues as another input of the corpus does.
    Splice(Index, Vec<u8>, Index),
    Repeat(Index, Index),
}

fn inputs(corpus: &[Vec<u8>], words: &[&'static str]) -> impl Strategy<Value = Vec<u8>> {
    let words: Vec<&str> = words
        .iter()
        .copied()
        .chain(["", "\0", "\u{fffd}"])
        .collect();
    let corpus = corpus.iter().cloned().chain([Vec::new()]);
    let seed = select(corpus.collect::<Vec<_>>());
    let bytes = prop_oneof![
        3 => select(words).prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 1..4),
        1 => "[ -~]{1,3}".prop_map(String::into_bytes),
    ];
    let change = prop_oneof![
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Cut(from, to)),
        (any::<Index>(), bytes).prop_map(|(at, bytes)| Change::Insert(at, bytes)),
        (any::<Index>(), seed.clone(), any::<Index>())
            .prop_map(|(at, other, from)| Change::Splice(at, other, from)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, to)| Change::Repeat(from, to)),
    ];
    (seed, vec(change, 0..5)).prop_map(|(mut input, changes)| {
        for change in changes {
            apply(&mut input, change);
        }
        input
    })
}

fn apply(input: &mut Vec<u8>, change: Change) {
    let place = |index: Index, input: &[u8]| index.index(input.len() + 1);
    match change {
        Change::Cut(from, to) => {
            let (from, to) = (place(from, input), place(to, input));
            input.drain(from.min(to)..from.max(to));
        }
        Change::Insert(at, bytes) => {
            let at = place(at, input);
            input.splice(at..at, bytes);
        }
        Change::Splice(at, other, from) => {
            input.truncate(place(at, input));
            input.extend_from_slice(&other[place(from, &other)..]);
        }
        Change::Repeat(from, to) => {
            let (from, to) = (place(from, input), place(to, input));
            let part = input[from.min(to)..from.max(to)].to_vec();
            input.splice(from..from, part);
        }
    }
}

/// What [`escape_ascii`](slice::escape_ascii) made a line of.
fn unescaped(line: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = line.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'\\' {
            bytes.push(byte);
            continue;
        }
        bytes.push(match rest.next() {
            Some(b'n') => b'\n',
            Some(b'r') => b'\r',
            Some(b't') => b'\t',
            Some(b'x') => {
                let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
                match (digit(rest.next()), digit(rest.next())) {
                    (Some(high), Some(low)) => u8::try_from(high * 16 + low).unwrap_or_default(),
                    _ => panic!("not a line of a corpus: {line}"),
                }
            }
            Some(byte @ (b'\\' | b'"' | b'\'')) => byte,
            _ => panic!("not a line of a corpus: {line}"),
        });
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_a_corpus_is_read_as_it_was_written() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescaped(&all.escape_ascii().to_string()), all);
    }

    #[test]
    #[should_panic(expected = "for the corpus:\nX")]
    fn what_panics_is_found_and_cut_short() {
        fuzz(lines("a long line\nXYZ"), &[], |input| {
            // Not the lines themselves.
            assert!(input.len() == 3 || !input.starts_with(b"X"));
        });
    }
}
