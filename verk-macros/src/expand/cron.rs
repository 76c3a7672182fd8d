//! The options `cron` and `every`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use super::duration;
use crate::model::{Periodic, Timing, Worker};

/// The call of `WorkerOptions::cron`.
pub(super) fn expand(worker: &Worker) -> Option<TokenStream> {
    let cron = &worker.options.cron;
    let entries = cron
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| entry.expand(index, worker));
    // A constant of its own, because a call is not promoted to one.
    (!cron.is_empty()).then(|| quote!(.cron(const { &[#(#entries),*] })))
}

impl Periodic {
    fn expand(&self, index: usize, worker: &Worker) -> Option<TokenStream> {
        let private = worker.private();
        let class = worker.class();
        let name = self.name.clone().unwrap_or_else(|| match index {
            0 => class,
            _ => format!("{class}#{}", index + 1),
        });
        let (job, args) = (&worker.job, &self.args);
        let args = quote!(|| #private::Worker::encode_args(&#job::new(#(#args),*)));
        let entry = match &self.timing {
            Timing::Cron { expression, zone } => {
                quote!(#private::Periodic::cron(#name, #expression, #zone, #args))
            }
            Timing::Every(period) => {
                let period = duration(*period);
                quote!(#private::Periodic::every(#name, #period, #args))
            }
            Timing::Unknown => return None,
        };
        let overlap = self.overlap.map(|name| {
            let variant = Ident::new(name, Span::call_site());
            quote!(.overlap(#private::Overlap::#variant))
        });
        let catch_up = self.catch_up.map(|name| {
            let variant = Ident::new(name, Span::call_site());
            quote!(.catch_up(#private::CatchUp::#variant))
        });
        let times = [(self.within, quote!(within)), (self.splay, quote!(splay))];
        let times = times.into_iter().filter_map(|(time, method)| {
            let time = duration(time?);
            Some(quote!(.#method(#time)))
        });
        Some(quote!(#entry #overlap #catch_up #(#times)*))
    }
}
