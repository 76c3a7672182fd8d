async fn sweep() {}
/// Class `Sweep`, queue `default`, performed by `sweep`.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
struct Sweep;
#[automatically_derived]
#[allow(dead_code, deprecated, clippy::too_many_arguments)]
impl Sweep {
    /// Makes a job. Nothing is stored before it is enqueued.
    #[must_use]
    fn new() -> Self {
        Self {}
    }
    /// Makes a job and enqueues it with the current client.
    ///
    /// # Errors
    ///
    /// As `EnqueueExt::enqueue`: the error says whether the job may still be stored.
    fn enqueue() -> ::verk::__private::Enqueue {
        ::verk::__private::enqueue(Self::new())
    }
}
#[automatically_derived]
impl ::verk::__private::serde::Serialize for Sweep {
    fn serialize<__S: ::verk::__private::serde::Serializer>(
        &self,
        serializer: __S,
    ) -> ::core::result::Result<__S::Ok, __S::Error> {
        let fields = ::verk::__private::serde::Serializer::serialize_struct(
            serializer,
            "Sweep",
            0usize,
        )?;
        ::verk::__private::serde::ser::SerializeStruct::end(fields)
    }
}
#[automatically_derived]
impl<'de> ::verk::__private::serde::Deserialize<'de> for Sweep {
    fn deserialize<__D: ::verk::__private::serde::Deserializer<'de>>(
        deserializer: __D,
    ) -> ::core::result::Result<Self, __D::Error> {
        struct __Visitor;
        impl<'de> ::verk::__private::serde::de::Visitor<'de> for __Visitor {
            type Value = Sweep;
            fn expecting(
                &self,
                f: &mut ::core::fmt::Formatter<'_>,
            ) -> ::core::fmt::Result {
                f.write_str("a job of class Sweep")
            }
            fn visit_map<__A: ::verk::__private::serde::de::MapAccess<'de>>(
                self,
                mut map: __A,
            ) -> ::core::result::Result<Sweep, __A::Error> {
                while let ::core::option::Option::Some(name) = map
                    .next_key::<::std::string::String>()?
                {
                    match name.as_str() {
                        _ => {
                            map.next_value::<
                                    ::verk::__private::serde::de::IgnoredAny,
                                >()?;
                        }
                    }
                }
                ::core::result::Result::Ok(Sweep {})
            }
            fn visit_seq<__A: ::verk::__private::serde::de::SeqAccess<'de>>(
                self,
                mut seq: __A,
            ) -> ::core::result::Result<Sweep, __A::Error> {
                ::core::result::Result::Ok(Sweep {})
            }
        }
        ::verk::__private::serde::Deserializer::deserialize_struct(
            deserializer,
            "Sweep",
            &[],
            __Visitor,
        )
    }
}
#[automatically_derived]
impl ::verk::__private::Worker for Sweep {
    const CLASS: &'static str = "Sweep";
    const OPTIONS: ::verk::__private::WorkerOptions = ::verk::__private::WorkerOptions::DEFAULT;
    fn encode_args(
        &self,
    ) -> ::core::result::Result<::std::string::String, ::verk::__private::ArgsError> {
        let args = ::verk::__private::ArgsWriter::new();
        ::core::result::Result::Ok(args.finish())
    }
    fn decode_args(
        _args: &mut ::verk::__private::ArgsReader<'_>,
    ) -> ::core::result::Result<Self, ::verk::__private::ArgsError> {
        ::core::result::Result::Ok(Self {})
    }
    async fn perform(
        self,
        _ctx: ::verk::__private::JobContext,
    ) -> ::core::result::Result<
        ::verk::__private::Outcome,
        ::verk::__private::PerformError,
    > {
        let answer = ::verk::__private::require_send(sweep()).await;
        ::verk::__private::Answer::outcome(
            answer,
            |_error| (::core::option::Option::None, ::core::option::Option::None),
        )
    }
}
::verk::__private::inventory::submit! {
    ::verk::__private::WorkerEntry::of:: < Sweep > (::core::concat!(::core::file!(), ":",
    ::core::line!()))
}
