async fn report(user: u64, tick: Option<Tick>, kind: String) {}
/// Class `Report`, queue `reports`, performed by `report`.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
struct Report {
    /// Argument 1.
    user: u64,
    /// Argument 2.
    kind: String,
}
#[automatically_derived]
#[allow(dead_code, deprecated, clippy::too_many_arguments)]
impl Report {
    /// Makes a job. Nothing is stored before it is enqueued.
    #[must_use]
    fn new(user: u64, kind: impl ::verk::__private::IntoString) -> Self {
        Self {
            user,
            kind: ::core::convert::Into::into(kind),
        }
    }
    /// Makes a job and enqueues it with the current client.
    ///
    /// # Errors
    ///
    /// As `EnqueueExt::enqueue`: the error says whether the job may still be stored.
    fn enqueue(
        user: u64,
        kind: impl ::verk::__private::IntoString,
    ) -> ::verk::__private::Enqueue {
        ::verk::__private::enqueue(Self::new(user, kind))
    }
}
#[automatically_derived]
impl ::verk::__private::serde::Serialize for Report {
    fn serialize<__S: ::verk::__private::serde::Serializer>(
        &self,
        serializer: __S,
    ) -> ::core::result::Result<__S::Ok, __S::Error> {
        let mut fields = ::verk::__private::serde::Serializer::serialize_struct(
            serializer,
            "Report",
            2usize,
        )?;
        <u64 as ::verk::__private::JobArg>::write_field(
            &self.user,
            "user",
            &mut fields,
        )?;
        <String as ::verk::__private::JobArg>::write_field(
            &self.kind,
            "kind",
            &mut fields,
        )?;
        ::verk::__private::serde::ser::SerializeStruct::end(fields)
    }
}
#[automatically_derived]
impl<'de> ::verk::__private::serde::Deserialize<'de> for Report {
    fn deserialize<__D: ::verk::__private::serde::Deserializer<'de>>(
        deserializer: __D,
    ) -> ::core::result::Result<Self, __D::Error> {
        struct __Visitor;
        impl<'de> ::verk::__private::serde::de::Visitor<'de> for __Visitor {
            type Value = Report;
            fn expecting(
                &self,
                f: &mut ::core::fmt::Formatter<'_>,
            ) -> ::core::fmt::Result {
                f.write_str("a job of class Report")
            }
            fn visit_map<__A: ::verk::__private::serde::de::MapAccess<'de>>(
                self,
                mut map: __A,
            ) -> ::core::result::Result<Report, __A::Error> {
                let mut value_0 = ::core::option::Option::None;
                let mut value_1 = ::core::option::Option::None;
                while let ::core::option::Option::Some(name) = map
                    .next_key::<::std::string::String>()?
                {
                    match name.as_str() {
                        "user" => {
                            <u64 as ::verk::__private::JobArg>::read_field(
                                "user",
                                &mut value_0,
                                &mut map,
                            )?
                        }
                        "kind" => {
                            <String as ::verk::__private::JobArg>::read_field(
                                "kind",
                                &mut value_1,
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
                ::core::result::Result::Ok(Report {
                    user: <u64 as ::verk::__private::JobArg>::required("user", value_0)?,
                    kind: <String as ::verk::__private::JobArg>::required(
                        "kind",
                        value_1,
                    )?,
                })
            }
            fn visit_seq<__A: ::verk::__private::serde::de::SeqAccess<'de>>(
                self,
                mut seq: __A,
            ) -> ::core::result::Result<Report, __A::Error> {
                ::core::result::Result::Ok(Report {
                    user: <u64 as ::verk::__private::JobArg>::read_element(
                        "user",
                        &mut seq,
                    )?,
                    kind: <String as ::verk::__private::JobArg>::read_element(
                        "kind",
                        &mut seq,
                    )?,
                })
            }
        }
        ::verk::__private::serde::Deserializer::deserialize_struct(
            deserializer,
            "Report",
            &["user", "kind"],
            __Visitor,
        )
    }
}
#[automatically_derived]
impl ::verk::__private::Worker for Report {
    const CLASS: &'static str = "Report";
    const OPTIONS: ::verk::__private::WorkerOptions = ::verk::__private::WorkerOptions::DEFAULT
        .queue("reports")
        .cron(const {
            &[
                ::verk::__private::Periodic::cron(
                        "Report",
                        "0 7 * * MON-FRI",
                        "Europe/Berlin",
                        || ::verk::__private::Worker::encode_args(
                            &Report::new(7, "weekday"),
                        ),
                    )
                    .overlap(::verk::__private::Overlap::QueueOne)
                    .catch_up(::verk::__private::CatchUp::All)
                    .within(::core::time::Duration::new(3600u64, 0u32))
                    .splay(::core::time::Duration::new(30u64, 0u32)),
                ::verk::__private::Periodic::every(
                    "often",
                    ::core::time::Duration::new(600u64, 0u32),
                    || ::verk::__private::Worker::encode_args(&Report::new(8, kind())),
                ),
                ::verk::__private::Periodic::cron(
                    "Report#3",
                    "@daily",
                    "UTC",
                    || ::verk::__private::Worker::encode_args(&Report::new(9, "daily")),
                ),
            ]
        });
    fn encode_args(
        &self,
    ) -> ::core::result::Result<::std::string::String, ::verk::__private::ArgsError> {
        let args = ::verk::__private::ArgsWriter::new();
        let args = <u64 as ::verk::__private::JobArg>::write(&self.user, "user", args)?;
        let args = <String as ::verk::__private::JobArg>::write(
            &self.kind,
            "kind",
            args,
        )?;
        ::core::result::Result::Ok(args.finish())
    }
    fn decode_args(
        args: &mut ::verk::__private::ArgsReader<'_>,
    ) -> ::core::result::Result<Self, ::verk::__private::ArgsError> {
        ::core::result::Result::Ok(Self {
            user: <u64 as ::verk::__private::JobArg>::read(args, "user")?,
            kind: <String as ::verk::__private::JobArg>::read(args, "kind")?,
        })
    }
    async fn perform(
        self,
        ctx: ::verk::__private::JobContext,
    ) -> ::core::result::Result<
        ::verk::__private::Outcome,
        ::verk::__private::PerformError,
    > {
        let extracted_1 = <Option<Tick> as ::verk::__private::FromJob>::from_job(&ctx)
            .await
            .map_err(::verk::__private::extraction_failed)?;
        let answer = ::verk::__private::require_send(
                report(self.user, extracted_1, self.kind),
            )
            .await;
        ::verk::__private::Answer::outcome(
            answer,
            |_error| (::core::option::Option::None, ::core::option::Option::None),
        )
    }
    fn requires() -> ::std::vec::Vec<::verk::__private::Requirement> {
        let mut requires = ::std::vec::Vec::new();
        requires.extend(<Option<Tick> as ::verk::__private::FromJob>::requires());
        requires
    }
}
::verk::__private::inventory::submit! {
    ::verk::__private::WorkerEntry::of:: < Report > (::core::concat!(::core::file!(),
    ":", ::core::line!()))
}
::core::compile_error! {
    "with this `overlap`, only the first job that `catch_up = \"all\"` makes up for would be stored: write `overlap = \"allow\"`"
}
