//! The option `unique`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::quote;

use super::duration;
use crate::model::{Unique, Until};

impl Unique {
    /// The call of `WorkerOptions::unique`.
    pub(super) fn expand(&self, private: &TokenStream) -> TokenStream {
        let by = self.by.iter().map(|places| quote!(.by(&[#(#places),*])));
        let until = self.until.iter().map(|until| {
            let until = until.expand();
            quote!(.until(#private::Until::#until))
        });
        let on_conflict = self.on_conflict.iter().map(|variant| {
            let variant = Ident::new(variant, Span::call_site());
            quote!(.on_conflict(#private::OnConflict::#variant))
        });
        let across_queues = self.across_queues.then(|| quote!(.across_queues()));
        let times = [
            (self.debounce, quote!(debounce)),
            (self.max_wait, quote!(max_wait)),
            (self.throttle, quote!(throttle)),
            (self.hold_when_dead, quote!(hold_when_dead)),
        ];
        let times = times.into_iter().filter_map(|(time, method)| {
            let time = duration(time?);
            Some(quote!(.#method(#time)))
        });
        quote!(.unique(#private::Unique::new() #(#by)* #(#until)* #(#on_conflict)* #(#times)* #across_queues))
    }
}

impl Until {
    /// The variant of `Until`.
    fn expand(self) -> TokenStream {
        match self {
            Self::Start => quote!(Start),
            Self::Done => quote!(Done),
            Self::Time(time) => {
                let time = duration(time);
                quote!(Time(#time))
            }
            Self::DoneOr(time) => {
                let time = duration(time);
                quote!(DoneOr(#time))
            }
        }
    }
}
