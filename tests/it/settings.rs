//! The page "Configuration" has a row for each setting, and what the row says holds.

use std::fs;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tempfile::TempDir;
use verk::{
    Config,
    redis::RedisConfig,
    settings::{self, Settings},
};

const PAGE: &str = include_str!("../../src/docs/configuration.md");

/// The cells of the rows of the first table after a heading.
fn rows(heading: &str) -> Vec<Vec<&'static str>> {
    let (_, after) = PAGE.split_once(heading).expect(heading);
    let rows = after.lines().skip_while(|line| !line.starts_with("|---"));
    let rows = rows.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|row| row.split('|').skip(1).map(str::trim).collect())
        .collect()
}

/// What is in the first backticks.
fn code(cell: &'static str) -> &'static str {
    cell.split('`').nth(1).expect(cell)
}

fn json(settings: &impl Serialize) -> Map<String, Value> {
    let Ok(Value::Object(fields)) = serde_json::to_value(settings) else {
        panic!("settings are an object");
    };
    fields
}

fn with_variable<T: Settings>(settings: T, variable: &str, value: &str) -> T {
    settings::change(settings, [(variable.into(), value.into())]).expect(variable)
}

fn check<T: Settings + Default + Serialize + DeserializeOwned>(heading: &str) {
    let rows = rows(heading);
    let declared: Vec<&str> = T::ALL.iter().map(|setting| setting.name).collect();
    let named: Vec<&str> = rows.iter().map(|row| code(row[0])).collect();
    assert_eq!(named, declared);
    let defaults = json(&T::default());
    let prefix = T::TABLE.map_or("VERK_".to_owned(), |table| format!("VERK_{table}_"));
    for (name, row) in named.into_iter().zip(rows) {
        let (variable, example) = code(row[1]).split_once('=').expect(row[1]);
        assert_eq!(variable, format!("{prefix}{name}").to_uppercase());

        let changed = json(&with_variable(T::default(), variable, example));
        let differs = |name: &&&str| changed[**name] != defaults[**name];
        let differing: Vec<&str> = declared.iter().filter(differs).copied().collect();
        assert_eq!(differing, [name], "{variable}={example} changes that");

        // The same from a file, and back from what was serialized.
        let value = changed[name].to_string().replace("\":", "\" = ");
        let table = T::TABLE
            .map(|table| format!("[{table}]\n"))
            .unwrap_or_default();
        let of_file: T = settings::parse(&format!("{table}{name} = {value}"), None).unwrap();
        assert_eq!(json(&of_file), changed, "{name} of a file");
        let read: T = serde_json::from_value(changed.into()).unwrap();
        assert_eq!(json(&read)[name], json(&of_file)[name]);

        if row[2].starts_with("none") {
            let default = defaults[name].to_string();
            assert!(
                ["null", "[]", "{}"].contains(&&*default),
                "{name}: {default}"
            );
        } else {
            let back = with_variable(of_file, variable, code(row[2]));
            assert_eq!(json(&back), defaults, "the default of {name}");
        }
    }
}

#[test]
fn the_page_has_the_settings_of_verk() {
    check::<Config>("# All settings");
}

#[test]
fn the_page_has_the_settings_of_redis() {
    check::<RedisConfig>("## Settings of Redis");
}

/// What a program has in a file of its own.
const OF_A_PROGRAM: &str = r#"listen = "0.0.0.0:80"

[services.verk]
queues = { default = 25 }
heartbeat = "10s"

[services.verk.redis]
url = "redis://:secret@host"
pool_size = 8
"#;

/// The settings of a program's file, or all that is wrong with them.
fn of_program(text: &str, table: &str) -> Result<(Config, RedisConfig), String> {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("app.toml");
    fs::write(&path, text).unwrap();
    let config = Config::from_table(&path, table);
    let redis = RedisConfig::from_table(&path, table);
    match (config, redis) {
        (Ok(config), Ok(redis)) => Ok((config, redis)),
        (config, redis) => {
            let errors = [config.err(), redis.err()].into_iter().flatten();
            let shown: Vec<String> = errors.map(|error| format!("{error}\n{error:?}")).collect();
            let start = format!("{}: ", path.display());
            Err(shown.join("\n").replace(&start, "app.toml, "))
        }
    }
}

#[test]
fn a_table_of_a_programs_own_file_has_all_settings() {
    let (config, redis) = of_program(OF_A_PROGRAM, "services.verk").unwrap();
    assert_eq!(json(&config)["queues"]["default"], 25);
    assert_eq!(json(&config)["heartbeat"], "10s");
    assert_eq!(json(&redis)["url"], "redis://***@host");
    assert_eq!(json(&redis)["pool_size"], 8);

    let (_, redis) = of_program("[verk]\nqueues = { default = 25 }", "verk").unwrap();
    assert_eq!(json(&redis), json(&RedisConfig::default()));
}

#[test]
fn mistakes_in_a_programs_own_file_have_their_place_and_no_password() {
    for (from, to, expected) in [
        (
            "\"10s\"",
            "10",
            "app.toml, line 5, column 13: services.verk.heartbeat must be a duration",
        ),
        (
            "heartbeat",
            "hearbeat",
            "app.toml, line 5, column 1: services.verk.hearbeat: no such field; did you mean heartbeat?",
        ),
        (
            "heartbeat",
            "redis_url",
            "app.toml, line 5, column 1: services.verk.redis_url: no such field; did you mean url in the table [services.verk.redis]?",
        ),
        (
            "pool_size = 8",
            "pool_size = \"redis://:secret@host\"",
            "app.toml, line 9, column 13: services.verk.redis.pool_size must be a whole number",
        ),
        (
            "\"redis://:secret@host\"",
            "[\"redis://:secret@host\"]",
            "app.toml, line 8, column 7: services.verk.redis.url must be a URL such as",
        ),
        (
            "services.verk",
            "services.vrek",
            "app.toml, line 1, column 1: there is no table [services.verk]; did you mean vrek?",
        ),
        (
            "services",
            "others",
            "app.toml, line 1, column 1: there is no table [services]",
        ),
    ] {
        let error = of_program(&OF_A_PROGRAM.replace(from, to), "services.verk").unwrap_err();
        assert!(error.starts_with(expected), "{error} is not {expected}");
        assert!(!error.contains("secret"), "{error}");
    }
}

/// As a program that reads its settings by serde has them.
#[test]
fn the_settings_of_redis_are_a_field_of_a_programs_own_settings() {
    #[derive(serde::Deserialize)]
    struct Program {
        redis: RedisConfig,
    }
    let text = r#"{"redis": {"url": "redis://:secret@host", "connect_timeout": "500ms"}}"#;
    let Program { redis } = serde_json::from_str(text).unwrap();
    assert_eq!(json(&redis)["url"], "redis://***@host");
    assert_eq!(json(&redis)["connect_timeout"], "500ms");
}
