use std::time::{Duration, Instant};

use axum::http::Request;

use super::*;

/// Of the password "open sesame", with the least that Argon2 allows, so that the test is quick.
fn hash() -> String {
    use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
    let params = Params::new(8, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2
        .hash_password_with_salt(b"open sesame", b"0123456789abcdef")
        .unwrap()
        .to_string()
}

fn request(authorization: Option<&str>) -> Parts {
    let mut request = Request::get("/");
    if let Some(value) = authorization {
        request = request.header(AUTHORIZATION, value);
    }
    request.body(()).unwrap().into_parts().0
}

fn basic(user: &str, password: &str) -> String {
    format!(
        "Basic {}",
        BASE64_STANDARD.encode(format!("{user}:{password}"))
    )
}

#[expect(clippy::disallowed_methods, reason = "only differences matter here")]
fn start() -> Instant {
    Instant::now()
}

async fn role(
    access: &Access,
    authorization: Option<&str>,
) -> Option<(Role, Option<String>, bool)> {
    match access.decide(&request(authorization), start()).await {
        Decision::Known { visitor, ambient } => Some((visitor.role, visitor.name, ambient)),
        Decision::Unknown | Decision::TooMany => None,
    }
}

#[tokio::test]
async fn a_token_is_a_bearer_or_the_password_of_basic() {
    let access = Access::token("s3cret");
    let token = |name: &str, ambient| Some((Role::Admin, Some(name.to_owned()), ambient));
    assert_eq!(
        role(&access, Some("Bearer s3cret")).await,
        token("token", false)
    );
    assert_eq!(
        role(&access, Some("bearer  s3cret")).await,
        token("token", false)
    );
    assert_eq!(
        role(&access, Some(&basic("", "s3cret"))).await,
        token("token", true)
    );
    assert_eq!(
        role(&access, Some(&basic("ada", "s3cret"))).await,
        token("ada", true)
    );
    for wrong in [
        "Bearer s3cre",
        "Bearer",
        "Bearer ",
        "s3cret",
        "Basic %%%",
        "Digest s3cret",
    ] {
        assert_eq!(role(&access, Some(wrong)).await, None, "{wrong}");
    }
    assert_eq!(role(&access, Some(&basic("s3cret", ""))).await, None);
    assert_eq!(role(&access, None).await, None);
}

#[tokio::test]
async fn an_empty_token_admits_nobody() {
    let access = Access::token("");
    for sent in ["Bearer ", "Bearer", &basic("", "")] {
        assert_eq!(role(&access, Some(sent)).await, None);
    }
}

#[tokio::test]
async fn a_password_is_checked_by_its_hash() {
    let access = Access::basic("ada", &hash()).unwrap();
    let known = Some((Role::Admin, Some("ada".to_owned()), true));
    // The second time from memory.
    for _ in 0..2 {
        assert_eq!(
            role(&access, Some(&basic("ada", "open sesame"))).await,
            known
        );
    }
    assert_eq!(
        role(&access, Some(&basic("eve", "open sesame"))).await,
        None
    );
    assert_eq!(role(&access, Some(&basic("ada", "open"))).await, None);
    assert_eq!(role(&access, Some("Bearer open sesame")).await, None);
}

#[tokio::test]
async fn after_ten_failures_unknown_passwords_wait_a_minute() {
    let access = Access::basic("ada", &hash()).unwrap();
    let (right, wrong) = (basic("ada", "open sesame"), basic("ada", "?"));
    let start = start();
    let decide = async |sent: &str, after| {
        let request = request(Some(sent));
        access
            .decide(&request, start + Duration::from_secs(after))
            .await
    };
    for _ in 0..10 {
        assert_eq!(decide(&wrong, 0).await, Decision::Unknown);
    }
    assert_eq!(decide(&wrong, 59).await, Decision::TooMany);
    assert_eq!(decide(&right, 59).await, Decision::TooMany);
    assert!(matches!(decide(&right, 60).await, Decision::Known { .. }));
    for _ in 0..11 {
        decide(&wrong, 61).await;
    }
    assert_eq!(decide(&wrong, 62).await, Decision::TooMany);
    assert!(
        matches!(decide(&right, 62).await, Decision::Known { .. }),
        "it is remembered"
    );
}

#[test]
fn a_hash_has_to_be_one_of_argon2() {
    for wrong in [
        "",
        "secret",
        "$2b$12$abcdefghijklmnopqrstuv",
        "$argon2id$v=19$m=8,t=1,p=1",
    ] {
        assert_eq!(Access::basic("ada", wrong).unwrap_err(), InvalidHash);
    }
}

#[tokio::test]
async fn a_function_decides_and_its_panic_refuses() {
    let access = Access::by(|request| {
        let user = request.headers.get("x-user")?.to_str().ok()?;
        assert_ne!(user, "panic");
        Some(Visitor::new(Role::Operate).named(user))
    });
    let decide = async |user: &str| {
        let request = Request::get("/").header("x-user", user).body(()).unwrap();
        access.decide(&request.into_parts().0, start()).await
    };
    let Decision::Known {
        visitor,
        ambient: true,
    } = decide("ada").await
    else {
        panic!("ada is known");
    };
    assert_eq!(visitor, Visitor::new(Role::Operate).named("ada"));
    assert_eq!(decide("panic").await, Decision::Unknown);
    assert_eq!(role(&access, None).await, None);
}

#[tokio::test]
async fn no_secret_is_shown() {
    let access = [
        Access::token("s3cret"),
        Access::basic("ada", &hash()).unwrap(),
    ];
    let shown = format!("{access:?}");
    assert_eq!(shown, "[Access(token), Access(basic)]");
}
