async fn sync_all(r#type: u64, State(pool): State<Pool>, note: String, kind: String) {}
/// Class `SyncAll`, queue `default`, performed by `sync_all`.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
struct SyncAll {
    /// Argument 1.
    r#type: u64,
    /// Argument 2.
    note: String,
    /// Argument 3.
    kind: String,
}
#[automatically_derived]
#[allow(dead_code, deprecated, clippy::too_many_arguments)]
impl SyncAll {
    /// Makes a job. Nothing is stored before it is enqueued.
    #[must_use]
    fn new(
        r#type: u64,
        note: impl ::verk::__private::IntoString,
        kind: impl ::verk::__private::IntoString,
    ) -> Self {
        Self {
            r#type,
            note: ::core::convert::Into::into(note),
            kind: ::core::convert::Into::into(kind),
        }
    }
    /// Makes a job and enqueues it with the current client.
    ///
    /// # Errors
    ///
    /// As `EnqueueExt::enqueue`: the error says whether the job may still be stored.
    fn enqueue(
        r#type: u64,
        note: impl ::verk::__private::IntoString,
        kind: impl ::verk::__private::IntoString,
    ) -> ::verk::__private::Enqueue {
        ::verk::__private::enqueue(Self::new(r#type, note, kind))
    }
}
#[automatically_derived]
impl ::verk::__private::serde::Serialize for SyncAll {
    fn serialize<__S: ::verk::__private::serde::Serializer>(
        &self,
        serializer: __S,
    ) -> ::core::result::Result<__S::Ok, __S::Error> {
        let mut fields = ::verk::__private::serde::Serializer::serialize_struct(
            serializer,
            "SyncAll",
            3usize,
        )?;
        <u64 as ::verk::__private::JobArg>::write_field(
            &self.r#type,
            "type",
            &mut fields,
        )?;
        <String as ::verk::__private::JobArg>::write_field(
            &self.note,
            "note",
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
impl<'de> ::verk::__private::serde::Deserialize<'de> for SyncAll {
    fn deserialize<__D: ::verk::__private::serde::Deserializer<'de>>(
        deserializer: __D,
    ) -> ::core::result::Result<Self, __D::Error> {
        struct __Visitor;
        impl<'de> ::verk::__private::serde::de::Visitor<'de> for __Visitor {
            type Value = SyncAll;
            fn expecting(
                &self,
                f: &mut ::core::fmt::Formatter<'_>,
            ) -> ::core::fmt::Result {
                f.write_str("a job of class SyncAll")
            }
            fn visit_map<__A: ::verk::__private::serde::de::MapAccess<'de>>(
                self,
                mut map: __A,
            ) -> ::core::result::Result<SyncAll, __A::Error> {
                let mut value_0 = ::core::option::Option::None;
                let mut value_1 = ::core::option::Option::None;
                let mut value_2 = ::core::option::Option::None;
                while let ::core::option::Option::Some(name) = map
                    .next_key::<::std::string::String>()?
                {
                    match name.as_str() {
                        "type" => {
                            <u64 as ::verk::__private::JobArg>::read_field(
                                "type",
                                &mut value_0,
                                &mut map,
                            )?
                        }
                        "note" => {
                            <String as ::verk::__private::JobArg>::read_field(
                                "note",
                                &mut value_1,
                                &mut map,
                            )?
                        }
                        "kind" => {
                            <String as ::verk::__private::JobArg>::read_field(
                                "kind",
                                &mut value_2,
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
                ::core::result::Result::Ok(SyncAll {
                    r#type: <u64 as ::verk::__private::JobArg>::required(
                        "type",
                        value_0,
                    )?,
                    note: <String as ::verk::__private::JobArg>::required(
                        "note",
                        value_1,
                    )?,
                    kind: <String as ::verk::__private::JobArg>::required(
                        "kind",
                        value_2,
                    )?,
                })
            }
            fn visit_seq<__A: ::verk::__private::serde::de::SeqAccess<'de>>(
                self,
                mut seq: __A,
            ) -> ::core::result::Result<SyncAll, __A::Error> {
                ::core::result::Result::Ok(SyncAll {
                    r#type: <u64 as ::verk::__private::JobArg>::read_element(
                        "type",
                        &mut seq,
                    )?,
                    note: <String as ::verk::__private::JobArg>::read_element(
                        "note",
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
            "SyncAll",
            &["type", "note", "kind"],
            __Visitor,
        )
    }
}
#[automatically_derived]
impl ::verk::__private::Worker for SyncAll {
    const CLASS: &'static str = "SyncAll";
    const OPTIONS: ::verk::__private::WorkerOptions = ::verk::__private::WorkerOptions::DEFAULT
        .unique(
            ::verk::__private::Unique::new()
                .by(&[2usize, 0usize])
                .until(
                    ::verk::__private::Until::DoneOr(
                        ::core::time::Duration::new(86400u64, 500000000u32),
                    ),
                )
                .on_conflict(::verk::__private::OnConflict::Replace)
                .hold_when_dead(::core::time::Duration::new(7200u64, 0u32))
                .across_queues(),
        );
    fn encode_args(
        &self,
    ) -> ::core::result::Result<::std::string::String, ::verk::__private::ArgsError> {
        let args = ::verk::__private::ArgsWriter::new();
        let args = <u64 as ::verk::__private::JobArg>::write(
            &self.r#type,
            "type",
            args,
        )?;
        let args = <String as ::verk::__private::JobArg>::write(
            &self.note,
            "note",
            args,
        )?;
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
            r#type: <u64 as ::verk::__private::JobArg>::read(args, "type")?,
            note: <String as ::verk::__private::JobArg>::read(args, "note")?,
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
        let extracted_1 = <State<Pool> as ::verk::__private::FromJob>::from_job(&ctx)
            .await
            .map_err(::verk::__private::extraction_failed)?;
        let answer = ::verk::__private::require_send(
                sync_all(self.r#type, extracted_1, self.note, self.kind),
            )
            .await;
        ::verk::__private::Answer::outcome(
            answer,
            |_error| (::core::option::Option::None, ::core::option::Option::None),
        )
    }
    fn requires() -> ::std::vec::Vec<::verk::__private::Requirement> {
        let mut requires = ::std::vec::Vec::new();
        requires.extend(<State<Pool> as ::verk::__private::FromJob>::requires());
        requires
    }
}
::verk::__private::inventory::submit! {
    ::verk::__private::WorkerEntry::of:: < SyncAll > (::core::concat!(::core::file!(),
    ":", ::core::line!()))
}
