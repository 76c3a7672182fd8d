//! The settings that are in force.

use serde_json::{Value, json};
use verk_core::Config;

use super::Session;
use crate::{
    connect::{Connection, Setting},
    failure::{Exit, Failure},
    output::{Cell, Column, Output, Table, Tone},
};

/// The settings of the binary: of options, the environment and a file.
pub(crate) fn of_connection(connection: &Connection, output: &mut Output) -> Result<Exit, Failure> {
    print(&connection.settings()?, output)
}

impl Session<'_> {
    /// The settings of a program with a storage of its own.
    pub(crate) fn config(&mut self) -> Result<Exit, Failure> {
        let object = |config: &Config| match serde_json::to_value(config) {
            Ok(Value::Object(fields)) => fields,
            _ => serde_json::Map::new(),
        };
        let default = object(&Config::default());
        let in_force = object(self.admin.config());
        // The queues of the program, which a command does not run.
        let shown = in_force
            .into_iter()
            .filter(|(name, _)| name != "disabled" && name != "queues");
        let settings = shown.map(|(name, value)| Setting {
            source: if default.get(&name) == Some(&value) {
                "default".to_owned()
            } else {
                "this program".to_owned()
            },
            value: value.to_string(),
            name,
        });
        let mut settings: Vec<Setting> = settings.collect();
        settings.push(Setting {
            name: "storage".to_owned(),
            value: json!(self.admin.address()).to_string(),
            source: "this program".to_owned(),
        });
        print(&settings, self.output)
    }
}

fn print(settings: &[Setting], output: &mut Output) -> Result<Exit, Failure> {
    let mut table = Table::new([
        Column::text("SETTING"),
        Column::long("VALUE"),
        Column::text("FROM"),
    ]);
    for Setting {
        name,
        value,
        source,
    } in settings
    {
        if output.is_json() {
            let value: Value = serde_json::from_str(value).unwrap_or(Value::Null);
            output.json(&json!({"setting": name, "value": value, "from": source}))?;
            continue;
        }
        let from = Cell::new(source);
        table.row([
            Cell::new(name),
            Cell::new(value),
            if source == "default" {
                from.tone(Tone::Faint)
            } else {
                from
            },
        ]);
    }
    if !output.is_json() {
        output.table(table)?;
    }
    Ok(Exit::DONE)
}
