//! The settings of the environment: reads variables, and collects the errors in them.

use std::{collections::BTreeMap, ffi::OsString};

use crate::{
    config::{TABLES_OF_BACKENDS, declare::Settings, file::did_you_mean, value::Value},
    error::{ConfigError, ConfigErrors},
    log,
};

/// The variable of a setting of `table`.
fn variable(table: Option<&str>, name: &str) -> String {
    let table = table.map(|table| format!("{table}_")).unwrap_or_default();
    format!("VERK_{table}{name}").to_uppercase()
}

/// Changes the settings that `vars` have, and warns of unknown variables.
///
/// # Errors
///
/// Every value that does not parse, with its variable and the accepted values.
#[doc(hidden)]
pub fn change<T: Settings>(
    mut settings: T,
    vars: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<T, ConfigErrors> {
    let mut variables = Variables::new(T::TABLE, vars);
    settings.set_from(&mut variables);
    for name in variables.left.keys() {
        let known = T::ALL
            .iter()
            .map(|setting| variable(T::TABLE, setting.name));
        let meant = did_you_mean(name, known);
        log::warn!("no setting of verk is called {name}{meant}");
    }
    ConfigErrors::check(variables.errors)?;
    Ok(settings)
}

/// Variables that are not read yet, and the errors in those that are.
#[doc(hidden)]
#[derive(Debug)]
pub struct Variables {
    table: Option<&'static str>,
    left: BTreeMap<String, OsString>,
    errors: Vec<ConfigError>,
}

impl Variables {
    fn new(
        table: Option<&'static str>,
        vars: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Self {
        let ours = variable(table, "");
        let others = TABLES_OF_BACKENDS.map(|other| variable(Some(other), ""));
        let is_ours = |name: &str| {
            let of_other = || others.iter().any(|other| name.starts_with(other));
            name.starts_with(&ours) && (table.is_some() || !of_other())
        };
        let ours = |(name, value): (OsString, OsString)| {
            let name = name.into_string().ok()?;
            is_ours(&name).then_some((name, value))
        };
        Self {
            table,
            left: vars.into_iter().filter_map(ours).collect(),
            errors: Vec::new(),
        }
    }

    /// Changes `target` if the setting has a variable.
    pub fn read<T: Value>(&mut self, setting: &str, target: &mut T) {
        let name = variable(self.table, setting);
        let Some(value) = self.left.remove(&name) else {
            return;
        };
        match value.to_str().and_then(T::parse) {
            Some(parsed) => *target = parsed,
            None => {
                let shown = if T::SECRET {
                    "***".to_owned()
                } else {
                    format!("{value:?}")
                };
                let error = ConfigError::invalid(name, shown, T::IN_VARIABLE);
                self.errors.push(error);
            }
        }
    }
}
