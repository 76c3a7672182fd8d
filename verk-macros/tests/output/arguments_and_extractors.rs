/// Sends the welcome mail.
pub async fn send_welcome(
    email: String,
    plan: Plan,
    State(pool): State<PgPool>,
    ctx: JobContext,
) -> Result<(), MailError> {
    pool.send(ctx, email, plan).await
}
/// Sends the welcome mail.
///
/// Class `SendWelcome`, queue `mailers`, performed by `send_welcome`.
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
pub struct SendWelcome {
    /// Argument 1.
    pub email: String,
    /// Argument 2.
    pub plan: Plan,
}
#[automatically_derived]
#[allow(dead_code, deprecated, clippy::too_many_arguments)]
impl SendWelcome {
    /// Makes a job. Nothing is stored before it is enqueued.
    #[must_use]
    pub fn new(email: impl ::verk::__private::IntoString, plan: Plan) -> Self {
        Self {
            email: ::core::convert::Into::into(email),
            plan,
        }
    }
    /// Makes a job and enqueues it with the current client.
    ///
    /// # Errors
    ///
    /// As `EnqueueExt::enqueue`: the error says whether the job may still be stored.
    pub fn enqueue(
        email: impl ::verk::__private::IntoString,
        plan: Plan,
    ) -> ::verk::__private::Enqueue {
        ::verk::__private::enqueue(Self::new(email, plan))
    }
}
#[automatically_derived]
impl ::verk::__private::serde::Serialize for SendWelcome {
    fn serialize<__S: ::verk::__private::serde::Serializer>(
        &self,
        serializer: __S,
    ) -> ::core::result::Result<__S::Ok, __S::Error> {
        let mut fields = ::verk::__private::serde::Serializer::serialize_struct(
            serializer,
            "SendWelcome",
            2usize,
        )?;
        <String as ::verk::__private::JobArg>::write_field(
            &self.email,
            "email",
            &mut fields,
        )?;
        <Plan as ::verk::__private::JobArg>::write_field(
            &self.plan,
            "plan",
            &mut fields,
        )?;
        ::verk::__private::serde::ser::SerializeStruct::end(fields)
    }
}
#[automatically_derived]
impl<'de> ::verk::__private::serde::Deserialize<'de> for SendWelcome {
    fn deserialize<__D: ::verk::__private::serde::Deserializer<'de>>(
        deserializer: __D,
    ) -> ::core::result::Result<Self, __D::Error> {
        struct __Visitor;
        impl<'de> ::verk::__private::serde::de::Visitor<'de> for __Visitor {
            type Value = SendWelcome;
            fn expecting(
                &self,
                f: &mut ::core::fmt::Formatter<'_>,
            ) -> ::core::fmt::Result {
                f.write_str("a job of class SendWelcome")
            }
            fn visit_map<__A: ::verk::__private::serde::de::MapAccess<'de>>(
                self,
                mut map: __A,
            ) -> ::core::result::Result<SendWelcome, __A::Error> {
                let mut value_0 = ::core::option::Option::None;
                let mut value_1 = ::core::option::Option::None;
                while let ::core::option::Option::Some(name) = map
                    .next_key::<::std::string::String>()?
                {
                    match name.as_str() {
                        "email" => {
                            <String as ::verk::__private::JobArg>::read_field(
                                "email",
                                &mut value_0,
                                &mut map,
                            )?
                        }
                        "plan" => {
                            <Plan as ::verk::__private::JobArg>::read_field(
                                "plan",
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
                ::core::result::Result::Ok(SendWelcome {
                    email: <String as ::verk::__private::JobArg>::required(
                        "email",
                        value_0,
                    )?,
                    plan: <Plan as ::verk::__private::JobArg>::required("plan", value_1)?,
                })
            }
            fn visit_seq<__A: ::verk::__private::serde::de::SeqAccess<'de>>(
                self,
                mut seq: __A,
            ) -> ::core::result::Result<SendWelcome, __A::Error> {
                ::core::result::Result::Ok(SendWelcome {
                    email: <String as ::verk::__private::JobArg>::read_element(
                        "email",
                        &mut seq,
                    )?,
                    plan: <Plan as ::verk::__private::JobArg>::read_element(
                        "plan",
                        &mut seq,
                    )?,
                })
            }
        }
        ::verk::__private::serde::Deserializer::deserialize_struct(
            deserializer,
            "SendWelcome",
            &["email", "plan"],
            __Visitor,
        )
    }
}
#[automatically_derived]
impl ::verk::__private::Worker for SendWelcome {
    const CLASS: &'static str = "SendWelcome";
    const OPTIONS: ::verk::__private::WorkerOptions = ::verk::__private::WorkerOptions::DEFAULT
        .queue("mailers")
        .max_retry_count(5u32);
    fn encode_args(
        &self,
    ) -> ::core::result::Result<::std::string::String, ::verk::__private::ArgsError> {
        let args = ::verk::__private::ArgsWriter::new();
        let args = <String as ::verk::__private::JobArg>::write(
            &self.email,
            "email",
            args,
        )?;
        let args = <Plan as ::verk::__private::JobArg>::write(&self.plan, "plan", args)?;
        ::core::result::Result::Ok(args.finish())
    }
    fn decode_args(
        args: &mut ::verk::__private::ArgsReader<'_>,
    ) -> ::core::result::Result<Self, ::verk::__private::ArgsError> {
        ::core::result::Result::Ok(Self {
            email: <String as ::verk::__private::JobArg>::read(args, "email")?,
            plan: <Plan as ::verk::__private::JobArg>::read(args, "plan")?,
        })
    }
    async fn perform(
        self,
        ctx: ::verk::__private::JobContext,
    ) -> ::core::result::Result<
        ::verk::__private::Outcome,
        ::verk::__private::PerformError,
    > {
        let extracted_2 = <State<PgPool> as ::verk::__private::FromJob>::from_job(&ctx)
            .await
            .map_err(::verk::__private::extraction_failed)?;
        let extracted_3 = <JobContext as ::verk::__private::FromJob>::from_job(&ctx)
            .await
            .map_err(::verk::__private::extraction_failed)?;
        let answer = ::verk::__private::require_send(
                send_welcome(self.email, self.plan, extracted_2, extracted_3),
            )
            .await;
        <Result<
            (),
            MailError,
        > as ::verk::__private::Answer>::outcome(
            answer,
            |_error| (::core::option::Option::None, ::core::option::Option::None),
        )
    }
    fn requires() -> ::std::vec::Vec<::verk::__private::Requirement> {
        let mut requires = ::std::vec::Vec::new();
        requires.extend(<State<PgPool> as ::verk::__private::FromJob>::requires());
        requires.extend(<JobContext as ::verk::__private::FromJob>::requires());
        requires
    }
}
::verk::__private::inventory::submit! {
    ::verk::__private::WorkerEntry::of:: < SendWelcome >
    (::core::concat!(::core::file!(), ":", ::core::line!()))
}
