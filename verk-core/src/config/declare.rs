//! What follows from the declaration of a setting: [`settings_struct!`](crate::settings_struct)
//! makes the struct, [`settings_methods!`](crate::settings_methods) the methods that set it.
//!
//! Both take what `config/settings.rs` explains. `RedisConfig` is declared in the same way.

use serde::de::DeserializeOwned;

pub use crate::config::{
    environment::{Variables, change},
    file::{duration, parse, read},
    value::Value,
};

/// A struct of settings.
pub trait Settings: DeserializeOwned {
    /// Its table within the settings of verk in a file, and what its variables begin with after
    /// `VERK_`. `None` for those of verk itself.
    const TABLE: Option<&'static str>;

    /// All of them.
    const ALL: &'static [Setting];

    /// Changes those that have a variable.
    fn set_from(&mut self, variables: &mut Variables);
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The name of its field.
    pub name: &'static str,
    /// What the setting must be in a file, in words.
    pub in_file: &'static str,
}

impl Setting {
    /// The setting of a type.
    #[must_use]
    pub const fn of<T: Value>(name: &'static str) -> Self {
        Self {
            name,
            in_file: T::IN_FILE,
        }
    }
}

/// Makes the struct, its `Default`, its serde and its [`Settings`].
#[doc(hidden)]
#[macro_export]
macro_rules! settings_struct {
    (
        $(#[$of_struct:meta])*
        pub struct $Struct:ident, in $table:expr, fields($of_fields:vis);
        $(
            $(#[doc = $doc:literal])+
            $(#[serde($($serde:tt)*)])?
            $name:ident: $type:ty = $default:expr
                $(, set by ($given:ident: $given_type:ty) $converted:expr)?;
        )+
    ) => {
        $(#[$of_struct])*
        #[derive(Clone, Debug, PartialEq, Eq, ::serde::Serialize, ::serde::Deserialize)]
        #[serde(default, deny_unknown_fields)]
        #[non_exhaustive]
        pub struct $Struct {
            $(
                $(#[doc = $doc])+
                #[doc = concat!("\n\nDefaults to `", stringify!($default), "`.")]
                $(#[serde($($serde)*)])?
                $of_fields $name: $type,
            )+
        }

        impl Default for $Struct {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl $crate::settings::Settings for $Struct {
            const TABLE: Option<&'static str> = $table;

            const ALL: &'static [$crate::settings::Setting] =
                &[$($crate::settings::Setting::of::<$type>(stringify!($name)),)+];

            fn set_from(&mut self, variables: &mut $crate::settings::Variables) {
                $(variables.read(stringify!($name), &mut self.$name);)+
            }
        }
    };
}

/// Makes a method for each setting. It sets the field of `self`, or of what is at `place` in
/// `self`.
#[doc(hidden)]
#[macro_export]
macro_rules! settings_methods {
    // One method: that of a setting that takes its own type, and that of one that is `set by`
    // another.
    (@method [$($doc:literal)+] [$($place:tt)*] $name:ident: $type:ty = $default:expr) => {
        $crate::settings_methods! {
            @method [$($doc)+] [$($place)*] $name: $type = $default, set by ($name: $type) $name
        }
    };
    (
        @method [$($doc:literal)+] [$($place:tt)*] $name:ident: $type:ty = $default:expr,
            set by ($given:ident: $given_type:ty) $converted:expr
    ) => {
        $(#[doc = $doc])+
        #[doc = concat!("\n\nDefaults to `", stringify!($default), "`.")]
        pub fn $name(mut self, $given: $given_type) -> Self {
            self$($place)*.$name = $converted;
            self
        }
    };
    (
        impl $Struct:ident $place:tt;
        $(
            $(#[doc = $doc:literal])+
            $(#[serde($($serde:tt)*)])?
            $name:ident: $type:ty = $default:expr
                $(, set by ($given:ident: $given_type:ty) $converted:expr)?;
        )+
    ) => {
        /// A method for each setting.
        impl $Struct {
            $($crate::settings_methods! {
                @method [$($doc)+] $place $name: $type = $default
                    $(, set by ($given: $given_type) $converted)?
            })+
        }
    };
}

pub(crate) use {settings_methods, settings_struct};
