pub async fn import(path: String, line: u32, label: String, dry_run: Option<bool>) {
    run(path, line, label, dry_run).await;
}
/// Class `Import`, queue `default`, performed by `import`.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
pub struct Import {
    /// Argument 1.
    pub path: String,
    /// Argument 2, which may be absent.
    pub line: u32,
    /// For the log.
    pub label: String,
    /// Argument 4.
    pub dry_run: Option<bool>,
}
#[automatically_derived]
#[allow(dead_code, deprecated, clippy::too_many_arguments)]
impl Import {
    /// Makes a job. Nothing is stored before it is enqueued.
    #[must_use]
    pub fn new(
        path: impl ::verk::__private::IntoString,
        line: u32,
        label: impl ::verk::__private::IntoString,
        dry_run: Option<bool>,
    ) -> Self {
        Self {
            path: ::core::convert::Into::into(path),
            line,
            label: ::core::convert::Into::into(label),
            dry_run,
        }
    }
    /// Makes a job and enqueues it with the current client.
    ///
    /// # Errors
    ///
    /// As `EnqueueExt::enqueue`: the error says whether the job may still be stored.
    pub fn enqueue(
        path: impl ::verk::__private::IntoString,
        line: u32,
        label: impl ::verk::__private::IntoString,
        dry_run: Option<bool>,
    ) -> ::verk::__private::Enqueue {
        ::verk::__private::enqueue(Self::new(path, line, label, dry_run))
    }
    #[doc(hidden)]
    fn __default_of_line() -> u32 {
        ::core::default::Default::default()
    }
    #[doc(hidden)]
    fn __default_of_label() -> String {
        some::label()
    }
}
#[automatically_derived]
impl ::verk::__private::serde::Serialize for Import {
    fn serialize<__S: ::verk::__private::serde::Serializer>(
        &self,
        serializer: __S,
    ) -> ::core::result::Result<__S::Ok, __S::Error> {
        let mut fields = ::verk::__private::serde::Serializer::serialize_struct(
            serializer,
            "Import",
            4usize,
        )?;
        <String as ::verk::__private::JobArg>::write_field(
            &self.path,
            "path",
            &mut fields,
        )?;
        <u32 as ::verk::__private::JobArg>::write_field(
            &self.line,
            "line",
            &mut fields,
        )?;
        <String as ::verk::__private::JobArg>::write_field(
            &self.label,
            "label",
            &mut fields,
        )?;
        <Option<
            bool,
        > as ::verk::__private::JobArg>::write_field(
            &self.dry_run,
            "dry_run",
            &mut fields,
        )?;
        ::verk::__private::serde::ser::SerializeStruct::end(fields)
    }
}
#[automatically_derived]
impl<'de> ::verk::__private::serde::Deserialize<'de> for Import {
    fn deserialize<__D: ::verk::__private::serde::Deserializer<'de>>(
        deserializer: __D,
    ) -> ::core::result::Result<Self, __D::Error> {
        struct __Visitor;
        impl<'de> ::verk::__private::serde::de::Visitor<'de> for __Visitor {
            type Value = Import;
            fn expecting(
                &self,
                f: &mut ::core::fmt::Formatter<'_>,
            ) -> ::core::fmt::Result {
                f.write_str("a job of class Import")
            }
            fn visit_map<__A: ::verk::__private::serde::de::MapAccess<'de>>(
                self,
                mut map: __A,
            ) -> ::core::result::Result<Import, __A::Error> {
                let mut value_0 = ::core::option::Option::None;
                let mut value_1 = ::core::option::Option::None;
                let mut value_2 = ::core::option::Option::None;
                let mut value_3 = ::core::option::Option::None;
                while let ::core::option::Option::Some(name) = map
                    .next_key::<::std::string::String>()?
                {
                    match name.as_str() {
                        "path" => {
                            <String as ::verk::__private::JobArg>::read_field(
                                "path",
                                &mut value_0,
                                &mut map,
                            )?
                        }
                        "line" => {
                            <u32 as ::verk::__private::JobArg>::read_field(
                                "line",
                                &mut value_1,
                                &mut map,
                            )?
                        }
                        "label" => {
                            <String as ::verk::__private::JobArg>::read_field(
                                "label",
                                &mut value_2,
                                &mut map,
                            )?
                        }
                        "dry_run" => {
                            <Option<
                                bool,
                            > as ::verk::__private::JobArg>::read_field(
                                "dry_run",
                                &mut value_3,
                                &mut map,
                            )?
                        }
                        _ => {
                            map.next_value::<
                                    ::verk::__private::serde::de::IgnoredAny,
                                >()?;
                        }
                    }
                }
                ::core::result::Result::Ok(Import {
                    path: <String as ::verk::__private::JobArg>::required(
                        "path",
                        value_0,
                    )?,
                    line: value_1.unwrap_or_else(Import::__default_of_line),
                    label: value_2.unwrap_or_else(Import::__default_of_label),
                    dry_run: <Option<
                        bool,
                    > as ::verk::__private::JobArg>::required("dry_run", value_3)?,
                })
            }
            fn visit_seq<__A: ::verk::__private::serde::de::SeqAccess<'de>>(
                self,
                mut seq: __A,
            ) -> ::core::result::Result<Import, __A::Error> {
                ::core::result::Result::Ok(Import {
                    path: <String as ::verk::__private::JobArg>::read_element(
                        "path",
                        &mut seq,
                    )?,
                    line: <u32 as ::verk::__private::JobArg>::read_element_or(
                        &mut seq,
                        Import::__default_of_line,
                    )?,
                    label: <String as ::verk::__private::JobArg>::read_element_or(
                        &mut seq,
                        Import::__default_of_label,
                    )?,
                    dry_run: <Option<
                        bool,
                    > as ::verk::__private::JobArg>::read_element("dry_run", &mut seq)?,
                })
            }
        }
        ::verk::__private::serde::Deserializer::deserialize_struct(
            deserializer,
            "Import",
            &["path", "line", "label", "dry_run"],
            __Visitor,
        )
    }
}
#[automatically_derived]
impl ::verk::__private::Worker for Import {
    const CLASS: &'static str = "Import";
    const OPTIONS: ::verk::__private::WorkerOptions = ::verk::__private::WorkerOptions::DEFAULT;
    fn encode_args(
        &self,
    ) -> ::core::result::Result<::std::string::String, ::verk::__private::ArgsError> {
        let args = ::verk::__private::ArgsWriter::new();
        let args = <String as ::verk::__private::JobArg>::write(
            &self.path,
            "path",
            args,
        )?;
        let args = <u32 as ::verk::__private::JobArg>::write(&self.line, "line", args)?;
        let args = <String as ::verk::__private::JobArg>::write(
            &self.label,
            "label",
            args,
        )?;
        let args = <Option<
            bool,
        > as ::verk::__private::JobArg>::write(&self.dry_run, "dry_run", args)?;
        ::core::result::Result::Ok(args.finish())
    }
    fn decode_args(
        args: &mut ::verk::__private::ArgsReader<'_>,
    ) -> ::core::result::Result<Self, ::verk::__private::ArgsError> {
        ::core::result::Result::Ok(Self {
            path: <String as ::verk::__private::JobArg>::read(args, "path")?,
            line: <u32 as ::verk::__private::JobArg>::read_or(
                args,
                "line",
                Import::__default_of_line,
            )?,
            label: <String as ::verk::__private::JobArg>::read_or(
                args,
                "label",
                Import::__default_of_label,
            )?,
            dry_run: <Option<bool> as ::verk::__private::JobArg>::read(args, "dry_run")?,
        })
    }
    async fn perform(
        self,
        _ctx: ::verk::__private::JobContext,
    ) -> ::core::result::Result<
        ::verk::__private::Outcome,
        ::verk::__private::PerformError,
    > {
        let answer = ::verk::__private::require_send(
                import(self.path, self.line, self.label, self.dry_run),
            )
            .await;
        ::verk::__private::Answer::outcome(
            answer,
            |_error| (::core::option::Option::None, ::core::option::Option::None),
        )
    }
}
::verk::__private::inventory::submit! {
    ::verk::__private::WorkerEntry::of:: < Import > (::core::concat!(::core::file!(),
    ":", ::core::line!()))
}
