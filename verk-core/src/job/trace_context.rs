//! The trace context that a job carries from its enqueue to its run: W3C's `traceparent` and
//! `tracestate`.

use std::borrow::Cow;

use opentelemetry::{
    Context,
    propagation::{Extractor, Injector, TextMapPropagator},
    trace::TraceContextExt,
};
use opentelemetry_sdk::propagation::TraceContextPropagator;

use super::{Job, value::quoted};
use crate::guard;

const TRACEPARENT: &str = "traceparent";
const TRACESTATE: &str = "tracestate";

impl Job {
    /// Notes which span enqueues the job.
    pub(crate) fn trace_enqueue(&mut self) {
        use tracing_opentelemetry::OpenTelemetrySpanExt;

        guard::call(|| {
            let mut context = tracing::Span::current().context();
            if !context.has_active_span() {
                // The context of a program that uses OpenTelemetry without `tracing`.
                context = Context::current();
            }
            self.set_trace_context(&context);
        });
    }

    /// Writes the span that enqueues the job, unless the job already belongs to a trace.
    fn set_trace_context(&mut self, context: &Context) {
        if self.present(TRACEPARENT).is_none() {
            TraceContextPropagator::new().inject_context(context, &mut Payload(self));
        }
    }

    /// The span that enqueued the job; `None` if there is none, or it is invalid.
    pub(crate) fn trace_context(&self) -> Option<Context> {
        let keys = Keys {
            traceparent: self.string(TRACEPARENT)?,
            tracestate: self.string(TRACESTATE),
        };
        let context = TraceContextPropagator::new().extract_with_context(&Context::new(), &keys);
        context.has_active_span().then_some(context)
    }
}

struct Payload<'a>(&'a mut Job);

impl Injector for Payload<'_> {
    fn set(&mut self, key: &str, value: String) {
        match key {
            TRACEPARENT => self.0.patch(TRACEPARENT, quoted(&value)),
            TRACESTATE if !value.is_empty() => self.0.patch(TRACESTATE, quoted(&value)),
            _ => {}
        }
    }
}

struct Keys<'a> {
    traceparent: Cow<'a, str>,
    tracestate: Option<Cow<'a, str>>,
}

impl Extractor for Keys<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            TRACEPARENT => Some(&self.traceparent),
            TRACESTATE => self.tracestate.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec![TRACEPARENT, TRACESTATE]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn job(more: &str) -> Job {
        let payload = format!(r#"{{"class":"A","jid":"1","args":[]{more}}}"#);
        Job::decode(payload.into()).unwrap()
    }

    #[test]
    fn what_is_carried_is_read_again_and_not_replaced() {
        let sent = job(&format!(
            r#","retry":true,"traceparent":"{PARENT}","tracestate":"a=1,b=2""#
        ));
        let context = sent.trace_context().unwrap();
        let mut copied = job("");
        copied.set_trace_context(&context);
        assert_eq!(copied.encode(), sent.encode());

        let other = PARENT.replace("b7ad", "0000");
        let mut carries = job(&format!(r#","traceparent":"{other}""#));
        let before = carries.encode();
        carries.set_trace_context(&context);
        assert_eq!(carries.encode(), before);
    }

    #[test]
    fn without_a_span_nothing_is_written() {
        let mut untouched = job("");
        untouched.set_trace_context(&Context::new());
        assert_eq!(untouched.encode(), job("").encode());
    }

    #[test]
    fn what_is_not_valid_is_no_context() {
        let zeros = "00-00000000000000000000000000000000-b7ad6b7169203331-01";
        for value in [
            "null".to_owned(),
            "7".to_owned(),
            r#"{"a":1}"#.to_owned(),
            r#""""#.to_owned(),
            r#""hello""#.to_owned(),
            format!("{zeros:?}"),
            format!("{:?}", PARENT.to_uppercase()),
            format!("{:?}", &PARENT[..52]),
            format!("{:?}", format!("{PARENT}-99")),
            format!("{:?}", PARENT.replace("00-", "ff-")),
        ] {
            let context = job(&format!(r#","traceparent":{value}"#)).trace_context();
            assert!(context.is_none(), "{value}");
        }
        let odd_state = job(&format!(
            r#","traceparent":"{PARENT}","tracestate":"\u0000,=,""#
        ));
        assert!(
            odd_state.trace_context().is_some(),
            "the state alone is left out"
        );
    }
}
