//! The page "Configuration" has a row for each setting, and what the row says holds.

use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
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
        let of_file: T = settings::parse(&format!("{table}{name} = {value}")).unwrap();
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
