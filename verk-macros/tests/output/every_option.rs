pub(crate) async fn r#yield(
    mut r#type: std::string::String,
    now: Now,
    state: maps::State,
) -> Result<Outcome, Error> {
    report(r#type, now, state).await
}
/// Class `Reports::Yearly`, queue `low`, performed by `r#yield`.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
pub(crate) struct YearlyReport {
    /// The year.
    pub(crate) r#type: std::string::String,
    /// Argument 2.
    pub(crate) state: maps::State,
}
#[automatically_derived]
#[allow(dead_code, deprecated, clippy::too_many_arguments)]
impl YearlyReport {
    /// Makes a job. Nothing is stored before it is enqueued.
    #[must_use]
    pub(crate) fn new(
        r#type: impl jobs::verk::__private::IntoString,
        state: maps::State,
    ) -> Self {
        Self {
            r#type: ::core::convert::Into::into(r#type),
            state,
        }
    }
    /// Makes a job and enqueues it with the current client.
    ///
    /// # Errors
    ///
    /// As `EnqueueExt::enqueue`: the error says whether the job may still be stored.
    pub(crate) fn enqueue(
        r#type: impl jobs::verk::__private::IntoString,
        state: maps::State,
    ) -> jobs::verk::__private::Enqueue {
        jobs::verk::__private::enqueue(Self::new(r#type, state))
    }
}
#[automatically_derived]
impl jobs::verk::__private::serde::Serialize for YearlyReport {
    fn serialize<__S: jobs::verk::__private::serde::Serializer>(
        &self,
        serializer: __S,
    ) -> ::core::result::Result<__S::Ok, __S::Error> {
        let mut fields = jobs::verk::__private::serde::Serializer::serialize_struct(
            serializer,
            "YearlyReport",
            2usize,
        )?;
        <std::string::String as jobs::verk::__private::JobArg>::write_field(
            &self.r#type,
            "type",
            &mut fields,
        )?;
        <maps::State as jobs::verk::__private::JobArg>::write_field(
            &self.state,
            "state",
            &mut fields,
        )?;
        jobs::verk::__private::serde::ser::SerializeStruct::end(fields)
    }
}
#[automatically_derived]
impl<'de> jobs::verk::__private::serde::Deserialize<'de> for YearlyReport {
    fn deserialize<__D: jobs::verk::__private::serde::Deserializer<'de>>(
        deserializer: __D,
    ) -> ::core::result::Result<Self, __D::Error> {
        struct __Visitor;
        impl<'de> jobs::verk::__private::serde::de::Visitor<'de> for __Visitor {
            type Value = YearlyReport;
            fn expecting(
                &self,
                f: &mut ::core::fmt::Formatter<'_>,
            ) -> ::core::fmt::Result {
                f.write_str("a job of class Reports::Yearly")
            }
            fn visit_map<__A: jobs::verk::__private::serde::de::MapAccess<'de>>(
                self,
                mut map: __A,
            ) -> ::core::result::Result<YearlyReport, __A::Error> {
                let mut value_0 = ::core::option::Option::None;
                let mut value_1 = ::core::option::Option::None;
                while let ::core::option::Option::Some(name) = map
                    .next_key::<::std::string::String>()?
                {
                    match name.as_str() {
                        "type" => {
                            <std::string::String as jobs::verk::__private::JobArg>::read_field(
                                "type",
                                &mut value_0,
                                &mut map,
                            )?
                        }
                        "state" => {
                            <maps::State as jobs::verk::__private::JobArg>::read_field(
                                "state",
                                &mut value_1,
                                &mut map,
                            )?
                        }
                        _ => {
                            map.next_value::<
                                    jobs::verk::__private::serde::de::IgnoredAny,
                                >()?;
                        }
                    }
                }
                ::core::result::Result::Ok(YearlyReport {
                    r#type: <std::string::String as jobs::verk::__private::JobArg>::required(
                        "type",
                        value_0,
                    )?,
                    state: <maps::State as jobs::verk::__private::JobArg>::required(
                        "state",
                        value_1,
                    )?,
                })
            }
            fn visit_seq<__A: jobs::verk::__private::serde::de::SeqAccess<'de>>(
                self,
                mut seq: __A,
            ) -> ::core::result::Result<YearlyReport, __A::Error> {
                ::core::result::Result::Ok(YearlyReport {
                    r#type: <std::string::String as jobs::verk::__private::JobArg>::read_element(
                        "type",
                        &mut seq,
                    )?,
                    state: <maps::State as jobs::verk::__private::JobArg>::read_element(
                        "state",
                        &mut seq,
                    )?,
                })
            }
        }
        jobs::verk::__private::serde::Deserializer::deserialize_struct(
            deserializer,
            "YearlyReport",
            &["type", "state"],
            __Visitor,
        )
    }
}
#[automatically_derived]
impl jobs::verk::__private::Worker for YearlyReport {
    const CLASS: &'static str = "Reports::Yearly";
    const OPTIONS: jobs::verk::__private::WorkerOptions = jobs::verk::__private::WorkerOptions::DEFAULT
        .queue("low")
        .max_retry_count(0u32)
        .timeout(::core::time::Duration::new(5400u64, 500000000u32))
        .dead(false)
        .tags(&["slow", "report"])
        .backtrace(false);
    fn encode_args(
        &self,
    ) -> ::core::result::Result<
        ::std::string::String,
        jobs::verk::__private::ArgsError,
    > {
        let args = jobs::verk::__private::ArgsWriter::new();
        let args = <std::string::String as jobs::verk::__private::JobArg>::write(
            &self.r#type,
            "type",
            args,
        )?;
        let args = <maps::State as jobs::verk::__private::JobArg>::write(
            &self.state,
            "state",
            args,
        )?;
        ::core::result::Result::Ok(args.finish())
    }
    fn decode_args(
        args: &mut jobs::verk::__private::ArgsReader<'_>,
    ) -> ::core::result::Result<Self, jobs::verk::__private::ArgsError> {
        ::core::result::Result::Ok(Self {
            r#type: <std::string::String as jobs::verk::__private::JobArg>::read(
                args,
                "type",
            )?,
            state: <maps::State as jobs::verk::__private::JobArg>::read(args, "state")?,
        })
    }
    async fn perform(
        self,
        ctx: jobs::verk::__private::JobContext,
    ) -> ::core::result::Result<
        jobs::verk::__private::Outcome,
        jobs::verk::__private::PerformError,
    > {
        let attempt = ctx.attempt();
        let extracted_1 = <Now as jobs::verk::__private::FromJob>::from_job(&ctx)
            .await
            .map_err(jobs::verk::__private::extraction_failed)?;
        let answer = jobs::verk::__private::require_send(
                r#yield(self.r#type, extracted_1, self.state),
            )
            .await;
        <Result<
            Outcome,
            Error,
        > as jobs::verk::__private::Answer>::outcome(
            answer,
            |error| (
                {
                    let described = jobs::verk::__private::Described(after, error);
                    use jobs::verk::__private::retry_in::*;
                    ::core::option::Option::Some((&&&&&described).retry_in(attempt))
                },
                {
                    let described = jobs::verk::__private::Described(class_of, error);
                    use jobs::verk::__private::error_class::*;
                    ::core::option::Option::Some((&&&&&described).error_class())
                },
            ),
        )
    }
    fn requires() -> ::std::vec::Vec<jobs::verk::__private::Requirement> {
        let mut requires = ::std::vec::Vec::new();
        requires.extend(<Now as jobs::verk::__private::FromJob>::requires());
        requires
    }
}
jobs::verk::__private::inventory::submit! {
    jobs::verk::__private::WorkerEntry::of:: < YearlyReport >
    (::core::concat!(::core::file!(), ":", ::core::line!()))
}
