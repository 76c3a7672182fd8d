use super::*;

/// Is its own source.
#[derive(Debug)]
struct Endless;

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("endless")
    }
}

impl Error for Endless {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(self)
    }
}

/// Prints forever, until it is stopped.
#[derive(Debug)]
struct Chatty;

impl fmt::Display for Chatty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        loop {
            f.write_str("é…")?;
        }
    }
}

impl Error for Chatty {}

#[test]
fn what_has_no_end_is_cut() {
    assert_eq!(ErrorChain(&Endless).to_string(), "endless");
    assert_eq!(sources(&Endless).count(), MAX_SOURCES);
    let text = ErrorChain(&Chatty).to_string();
    assert_eq!(text.chars().count(), MAX_MESSAGE_CHARS);
}

#[test]
fn nothing_is_said_twice() {
    #[derive(Debug, thiserror::Error)]
    #[error("level {level}{}", if *prints { ": no route" } else { "" })]
    struct Level {
        level: u8,
        prints: bool,
        source: std::io::Error,
    }
    for prints in [true, false] {
        let error = Level {
            level: 1,
            prints,
            source: std::io::Error::other("no route"),
        };
        assert_eq!(ErrorChain(&error).to_string(), "level 1: no route");
    }
}

#[test]
fn an_error_that_cannot_be_printed_is_no_panic() {
    #[derive(Debug, thiserror::Error)]
    struct Broken;
    impl fmt::Display for Broken {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("so far")?;
            Err(fmt::Error)
        }
    }
    assert_eq!(ErrorChain(&Broken).to_string(), "so far");
}
