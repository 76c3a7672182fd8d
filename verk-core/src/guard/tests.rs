use super::*;

/// Panics whenever it is dropped, with another one.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        std::panic::panic_any(Self);
    }
}

#[test]
fn a_panic_is_caught_with_all_that_its_payload_does() {
    let before = caught();
    assert_eq!(call(|| 7), Some(7));
    assert_eq!(caught(), before);
    assert_eq!(call(|| std::panic::panic_any(Bomb)), None::<()>);
    assert!(caught() > before);
    assert!(places().iter().any(|(file, _)| *file == file!()));
}

#[test]
fn a_panic_says_its_message() {
    let said = |panic: fn()| catch(panic).unwrap_err().message().to_owned();
    assert_eq!(said(|| panic!("plain")), "plain");
    assert_eq!(said(|| panic!("{} words", 2)), "2 words");
    assert_eq!(said(|| std::panic::panic_any(Bomb)), "panicked");
}
