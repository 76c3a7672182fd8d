fn import<T>(path: &str, name: String, list: Vec<T>, State(pool): State<PgPool>) {}
#[doc(hidden)]
#[allow(dead_code)]
#[derive(::core::clone::Clone, ::core::fmt::Debug)]
struct Import {}
#[automatically_derived]
#[allow(dead_code, missing_docs, unused_variables)]
impl Import {
    fn new<T>(
        _: &str,
        _: impl ::core::convert::Into<::std::string::String>,
        _: Vec<T>,
    ) -> Self {
        ::core::unreachable!()
    }
    async fn enqueue<T>(
        _: &str,
        _: impl ::core::convert::Into<::std::string::String>,
        _: Vec<T>,
    ) -> ::core::result::Result<
        ::verk::__private::Jid,
        ::verk::__private::EnqueueError,
    > {
        ::core::unreachable!()
    }
}
#[automatically_derived]
impl ::verk::__private::Worker for Import {
    const CLASS: &'static str = "";
    const OPTIONS: ::verk::__private::WorkerOptions = ::verk::__private::WorkerOptions::DEFAULT;
    fn encode_args(
        &self,
    ) -> ::core::result::Result<::std::string::String, ::verk::__private::ArgsError> {
        ::core::unreachable!()
    }
    fn decode_args(
        _: &mut ::verk::__private::ArgsReader<'_>,
    ) -> ::core::result::Result<Self, ::verk::__private::ArgsError> {
        ::core::unreachable!()
    }
    async fn perform(
        self,
        _: ::verk::__private::JobContext,
    ) -> ::core::result::Result<
        ::verk::__private::Outcome,
        ::verk::__private::PerformError,
    > {
        ::core::unreachable!()
    }
}
::core::compile_error! {
    "a worker owns its parameters: take `String`"
}
::core::compile_error! {
    "a worker is async: write `async fn`"
}
::core::compile_error! {
    "a worker has no generic parameters: one class of jobs has one type, so write the type"
}
