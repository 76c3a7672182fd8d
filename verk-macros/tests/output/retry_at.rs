async fn retry(count: u32) -> anyhow::Result<()> {
    Ok(())
}
/// Class `Retry`, queue `default`, performed by `retry`.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
struct Retry {
    /// Argument 1.
    count: u32,
}
#[automatically_derived]
#[allow(dead_code, deprecated, clippy::too_many_arguments)]
impl Retry {
    /// Makes a job. Nothing is stored before it is enqueued.
    #[must_use]
    fn new(count: u32) -> Self {
        Self { count }
    }
    /// Makes a job and enqueues it with the current client.
    ///
    /// # Errors
    ///
    /// As `EnqueueExt::enqueue`: the error says whether the job may still be stored.
    fn enqueue(count: u32) -> ::verk::__private::Enqueue {
        ::verk::__private::enqueue(Self::new(count))
    }
}
#[automatically_derived]
impl ::verk::__private::serde::Serialize for Retry {
    fn serialize<__S: ::verk::__private::serde::Serializer>(
        &self,
        serializer: __S,
    ) -> ::core::result::Result<__S::Ok, __S::Error> {
        let mut fields = ::verk::__private::serde::Serializer::serialize_struct(
            serializer,
            "Retry",
            1usize,
        )?;
        <u32 as ::verk::__private::JobArg>::write_field(
            &self.count,
            "count",
            &mut fields,
        )?;
        ::verk::__private::serde::ser::SerializeStruct::end(fields)
    }
}
#[automatically_derived]
impl<'de> ::verk::__private::serde::Deserialize<'de> for Retry {
    fn deserialize<__D: ::verk::__private::serde::Deserializer<'de>>(
        deserializer: __D,
    ) -> ::core::result::Result<Self, __D::Error> {
        struct __Visitor;
        impl<'de> ::verk::__private::serde::de::Visitor<'de> for __Visitor {
            type Value = Retry;
            fn expecting(
                &self,
                f: &mut ::core::fmt::Formatter<'_>,
            ) -> ::core::fmt::Result {
                f.write_str("a job of class Retry")
            }
            fn visit_map<__A: ::verk::__private::serde::de::MapAccess<'de>>(
                self,
                mut map: __A,
            ) -> ::core::result::Result<Retry, __A::Error> {
                let mut value_0 = ::core::option::Option::None;
                while let ::core::option::Option::Some(name) = map
                    .next_key::<::std::string::String>()?
                {
                    match name.as_str() {
                        "count" => {
                            <u32 as ::verk::__private::JobArg>::read_field(
                                "count",
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
                ::core::result::Result::Ok(Retry {
                    count: <u32 as ::verk::__private::JobArg>::required(
                        "count",
                        value_0,
                    )?,
                })
            }
            fn visit_seq<__A: ::verk::__private::serde::de::SeqAccess<'de>>(
                self,
                mut seq: __A,
            ) -> ::core::result::Result<Retry, __A::Error> {
                ::core::result::Result::Ok(Retry {
                    count: <u32 as ::verk::__private::JobArg>::read_element(
                        "count",
                        &mut seq,
                    )?,
                })
            }
        }
        ::verk::__private::serde::Deserializer::deserialize_struct(
            deserializer,
            "Retry",
            &["count"],
            __Visitor,
        )
    }
}
#[automatically_derived]
impl ::verk::__private::Worker for Retry {
    const CLASS: &'static str = "Retry";
    const OPTIONS: ::verk::__private::WorkerOptions = ::verk::__private::WorkerOptions::DEFAULT
        .retry_at({
            let retry_at: fn(::std::time::SystemTime, u32) -> ::std::time::SystemTime = backoff::tomorrow;
            retry_at
        });
    fn encode_args(
        &self,
    ) -> ::core::result::Result<::std::string::String, ::verk::__private::ArgsError> {
        let args = ::verk::__private::ArgsWriter::new();
        let args = <u32 as ::verk::__private::JobArg>::write(
            &self.count,
            "count",
            args,
        )?;
        ::core::result::Result::Ok(args.finish())
    }
    fn decode_args(
        args: &mut ::verk::__private::ArgsReader<'_>,
    ) -> ::core::result::Result<Self, ::verk::__private::ArgsError> {
        ::core::result::Result::Ok(Self {
            count: <u32 as ::verk::__private::JobArg>::read(args, "count")?,
        })
    }
    async fn perform(
        self,
        _ctx: ::verk::__private::JobContext,
    ) -> ::core::result::Result<
        ::verk::__private::Outcome,
        ::verk::__private::PerformError,
    > {
        let answer = ::verk::__private::require_send(retry(self.count)).await;
        <anyhow::Result<
            (),
        > as ::verk::__private::Answer>::outcome(
            answer,
            |_error| (::core::option::Option::None, ::core::option::Option::None),
        )
    }
}
::verk::__private::inventory::submit! {
    ::verk::__private::WorkerEntry::of:: < Retry > (::core::concat!(::core::file!(), ":",
    ::core::line!()))
}
