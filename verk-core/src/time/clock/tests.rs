use super::*;

#[test]
fn times_that_rfc_3339_does_not_have_are_shown_as_the_nearest() {
    let second = Duration::from_secs(1);
    for (time, shown) in [
        (UNIX_EPOCH + second / 4, "1970-01-01T00:00:00.250Z"),
        (UNIX_EPOCH - second, "1970-01-01T00:00:00.000Z"),
        (
            from_unix_seconds(f64::MAX) + second,
            "9999-12-31T23:59:59.000Z",
        ),
    ] {
        assert_eq!(rfc3339(time).to_string(), shown);
    }
}
