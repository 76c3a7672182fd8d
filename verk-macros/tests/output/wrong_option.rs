async fn import(path: String) {}
/// Class `Import`, queue `default`, performed by `import`.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
struct Import {
    /// Argument 1.
    path: String,
}
#[automatically_derived]
#[allow(dead_code, deprecated, clippy::too_many_arguments)]
impl Import {
    /// Makes a job. Nothing is stored before it is enqueued.
    #[must_use]
    fn new(path: impl ::verk::__private::IntoString) -> Self {
        Self {
            path: ::core::convert::Into::into(path),
        }
    }
    /// Makes a job and enqueues it with the current client.
    ///
    /// # Errors
    ///
    /// As `EnqueueExt::enqueue`: the error says whether the job may still be stored.
    fn enqueue(path: impl ::verk::__private::IntoString) -> ::verk::__private::Enqueue {
        ::verk::__private::enqueue(Self::new(path))
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
            1usize,
        )?;
        <String as ::verk::__private::JobArg>::write_field(
            &self.path,
            "path",
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
                })
            }
        }
        ::verk::__private::serde::Deserializer::deserialize_struct(
            deserializer,
            "Import",
            &["path"],
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
        ::core::result::Result::Ok(args.finish())
    }
    fn decode_args(
        args: &mut ::verk::__private::ArgsReader<'_>,
    ) -> ::core::result::Result<Self, ::verk::__private::ArgsError> {
        ::core::result::Result::Ok(Self {
            path: <String as ::verk::__private::JobArg>::read(args, "path")?,
        })
    }
    async fn perform(
        self,
        _ctx: ::verk::__private::JobContext,
    ) -> ::core::result::Result<
        ::verk::__private::Outcome,
        ::verk::__private::PerformError,
    > {
        let answer = ::verk::__private::require_send(import(self.path)).await;
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
::core::compile_error! {
    "unknown option `queu` (did you mean `queue`?); accepted: `queue`, `max_retry_count`, `class`, `name`, `retry_at`, `retry_in`, `timeout`, `dead`, `tags`, `backtrace`, `error_class`, `crate`, `unique`, `cron`, `every`"
}
::core::compile_error! {
    "`timeout` takes a duration in quotes, such as \"500ms\", \"30s\", \"5m\" or \"1h30m\", found `\"30\"`"
}
