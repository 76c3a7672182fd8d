async fn index(document: u64) {}
/// Class `Index`, queue `low`, performed by `index`.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
struct Index {
    /// Argument 1.
    document: u64,
}
#[automatically_derived]
#[allow(dead_code, deprecated, clippy::too_many_arguments)]
impl Index {
    /// Makes a job. Nothing is stored before it is enqueued.
    #[must_use]
    fn new(document: u64) -> Self {
        Self { document }
    }
    /// Makes a job and enqueues it with the current client.
    ///
    /// # Errors
    ///
    /// As `EnqueueExt::enqueue`: the error says whether the job may still be stored.
    fn enqueue(document: u64) -> ::verk::__private::Enqueue {
        ::verk::__private::enqueue(Self::new(document))
    }
}
#[automatically_derived]
impl ::verk::__private::serde::Serialize for Index {
    fn serialize<__S: ::verk::__private::serde::Serializer>(
        &self,
        serializer: __S,
    ) -> ::core::result::Result<__S::Ok, __S::Error> {
        let mut fields = ::verk::__private::serde::Serializer::serialize_struct(
            serializer,
            "Index",
            1usize,
        )?;
        <u64 as ::verk::__private::JobArg>::write_field(
            &self.document,
            "document",
            &mut fields,
        )?;
        ::verk::__private::serde::ser::SerializeStruct::end(fields)
    }
}
#[automatically_derived]
impl<'de> ::verk::__private::serde::Deserialize<'de> for Index {
    fn deserialize<__D: ::verk::__private::serde::Deserializer<'de>>(
        deserializer: __D,
    ) -> ::core::result::Result<Self, __D::Error> {
        struct __Visitor;
        impl<'de> ::verk::__private::serde::de::Visitor<'de> for __Visitor {
            type Value = Index;
            fn expecting(
                &self,
                f: &mut ::core::fmt::Formatter<'_>,
            ) -> ::core::fmt::Result {
                f.write_str("a job of class Index")
            }
            fn visit_map<__A: ::verk::__private::serde::de::MapAccess<'de>>(
                self,
                mut map: __A,
            ) -> ::core::result::Result<Index, __A::Error> {
                let mut value_0 = ::core::option::Option::None;
                while let ::core::option::Option::Some(name) = map
                    .next_key::<::std::string::String>()?
                {
                    match name.as_str() {
                        "document" => {
                            <u64 as ::verk::__private::JobArg>::read_field(
                                "document",
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
                ::core::result::Result::Ok(Index {
                    document: <u64 as ::verk::__private::JobArg>::required(
                        "document",
                        value_0,
                    )?,
                })
            }
            fn visit_seq<__A: ::verk::__private::serde::de::SeqAccess<'de>>(
                self,
                mut seq: __A,
            ) -> ::core::result::Result<Index, __A::Error> {
                ::core::result::Result::Ok(Index {
                    document: <u64 as ::verk::__private::JobArg>::read_element(
                        "document",
                        &mut seq,
                    )?,
                })
            }
        }
        ::verk::__private::serde::Deserializer::deserialize_struct(
            deserializer,
            "Index",
            &["document"],
            __Visitor,
        )
    }
}
#[automatically_derived]
impl ::verk::__private::Worker for Index {
    const CLASS: &'static str = "Index";
    const OPTIONS: ::verk::__private::WorkerOptions = ::verk::__private::WorkerOptions::DEFAULT
        .queue("low")
        .unique(
            ::verk::__private::Unique::new()
                .by(&[])
                .debounce(::core::time::Duration::new(5u64, 0u32))
                .max_wait(::core::time::Duration::new(60u64, 0u32)),
        );
    fn encode_args(
        &self,
    ) -> ::core::result::Result<::std::string::String, ::verk::__private::ArgsError> {
        let args = ::verk::__private::ArgsWriter::new();
        let args = <u64 as ::verk::__private::JobArg>::write(
            &self.document,
            "document",
            args,
        )?;
        ::core::result::Result::Ok(args.finish())
    }
    fn decode_args(
        args: &mut ::verk::__private::ArgsReader<'_>,
    ) -> ::core::result::Result<Self, ::verk::__private::ArgsError> {
        ::core::result::Result::Ok(Self {
            document: <u64 as ::verk::__private::JobArg>::read(args, "document")?,
        })
    }
    async fn perform(
        self,
        _ctx: ::verk::__private::JobContext,
    ) -> ::core::result::Result<
        ::verk::__private::Outcome,
        ::verk::__private::PerformError,
    > {
        let answer = ::verk::__private::require_send(index(self.document)).await;
        ::verk::__private::Answer::outcome(
            answer,
            |_error| (::core::option::Option::None, ::core::option::Option::None),
        )
    }
}
::verk::__private::inventory::submit! {
    ::verk::__private::WorkerEntry::of:: < Index > (::core::concat!(::core::file!(), ":",
    ::core::line!()))
}
