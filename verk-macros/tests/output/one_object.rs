async fn charge(order: Order, State(bank): State<Bank>) -> Result<(), BankError> {
    bank.charge(order).await
}
/// Class `Orders::Charge`, queue `default`, performed by `charge`.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
struct Charge {
    /// The arguments, as one JSON object.
    order: Order,
}
#[automatically_derived]
#[allow(dead_code, deprecated, clippy::too_many_arguments)]
impl Charge {
    /// Makes a job. Nothing is stored before it is enqueued.
    #[must_use]
    fn new(order: Order) -> Self {
        Self { order }
    }
    /// Makes a job and enqueues it with the current client.
    ///
    /// # Errors
    ///
    /// As `EnqueueExt::enqueue`: the error says whether the job may still be stored.
    fn enqueue(order: Order) -> ::verk::__private::Enqueue {
        ::verk::__private::enqueue(Self::new(order))
    }
}
#[automatically_derived]
impl ::verk::__private::serde::Serialize for Charge {
    fn serialize<__S: ::verk::__private::serde::Serializer>(
        &self,
        serializer: __S,
    ) -> ::core::result::Result<__S::Ok, __S::Error> {
        let mut fields = ::verk::__private::serde::Serializer::serialize_struct(
            serializer,
            "Charge",
            1usize,
        )?;
        <Order as ::verk::__private::JobArg>::write_field(
            &self.order,
            "order",
            &mut fields,
        )?;
        ::verk::__private::serde::ser::SerializeStruct::end(fields)
    }
}
#[automatically_derived]
impl<'de> ::verk::__private::serde::Deserialize<'de> for Charge {
    fn deserialize<__D: ::verk::__private::serde::Deserializer<'de>>(
        deserializer: __D,
    ) -> ::core::result::Result<Self, __D::Error> {
        struct __Visitor;
        impl<'de> ::verk::__private::serde::de::Visitor<'de> for __Visitor {
            type Value = Charge;
            fn expecting(
                &self,
                f: &mut ::core::fmt::Formatter<'_>,
            ) -> ::core::fmt::Result {
                f.write_str("a job of class Orders::Charge")
            }
            fn visit_map<__A: ::verk::__private::serde::de::MapAccess<'de>>(
                self,
                mut map: __A,
            ) -> ::core::result::Result<Charge, __A::Error> {
                let mut value_0 = ::core::option::Option::None;
                while let ::core::option::Option::Some(name) = map
                    .next_key::<::std::string::String>()?
                {
                    match name.as_str() {
                        "order" => {
                            <Order as ::verk::__private::JobArg>::read_field(
                                "order",
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
                ::core::result::Result::Ok(Charge {
                    order: <Order as ::verk::__private::JobArg>::required(
                        "order",
                        value_0,
                    )?,
                })
            }
            fn visit_seq<__A: ::verk::__private::serde::de::SeqAccess<'de>>(
                self,
                mut seq: __A,
            ) -> ::core::result::Result<Charge, __A::Error> {
                ::core::result::Result::Ok(Charge {
                    order: <Order as ::verk::__private::JobArg>::read_element(
                        "order",
                        &mut seq,
                    )?,
                })
            }
        }
        ::verk::__private::serde::Deserializer::deserialize_struct(
            deserializer,
            "Charge",
            &["order"],
            __Visitor,
        )
    }
}
#[automatically_derived]
impl ::verk::__private::Worker for Charge {
    const CLASS: &'static str = "Orders::Charge";
    const OPTIONS: ::verk::__private::WorkerOptions = ::verk::__private::WorkerOptions::DEFAULT;
    fn encode_args(
        &self,
    ) -> ::core::result::Result<::std::string::String, ::verk::__private::ArgsError> {
        let args = ::verk::__private::ArgsWriter::new();
        let args = <Order as ::verk::__private::JobArg>::write_object(
            &self.order,
            "order",
            args,
        )?;
        ::core::result::Result::Ok(args.finish())
    }
    fn decode_args(
        args: &mut ::verk::__private::ArgsReader<'_>,
    ) -> ::core::result::Result<Self, ::verk::__private::ArgsError> {
        ::core::result::Result::Ok(Self {
            order: <Order as ::verk::__private::JobArg>::read_object(args, "order")?,
        })
    }
    async fn perform(
        self,
        ctx: ::verk::__private::JobContext,
    ) -> ::core::result::Result<
        ::verk::__private::Outcome,
        ::verk::__private::PerformError,
    > {
        let extracted_1 = <State<Bank> as ::verk::__private::FromJob>::from_job(&ctx)
            .await
            .map_err(::verk::__private::extraction_failed)?;
        let answer = ::verk::__private::require_send(charge(self.order, extracted_1))
            .await;
        <Result<
            (),
            BankError,
        > as ::verk::__private::Answer>::outcome(
            answer,
            |_error| (::core::option::Option::None, ::core::option::Option::None),
        )
    }
    fn requires() -> ::std::vec::Vec<::verk::__private::Requirement> {
        let mut requires = ::std::vec::Vec::new();
        requires.extend(<State<Bank> as ::verk::__private::FromJob>::requires());
        requires
    }
}
::verk::__private::inventory::submit! {
    ::verk::__private::WorkerEntry::of:: < Charge > (::core::concat!(::core::file!(),
    ":", ::core::line!()))
}
