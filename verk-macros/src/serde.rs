//! Serde for the job struct: an object with the arguments by name, as a derive would write it.
//!
//! A derive would ask each type for serde's traits, in many places and wordings. This asks for `JobArg` alone.

use proc_macro2::{Ident, TokenStream};
use quote::quote;

use crate::model::Worker;

/// `impl Serialize`.
pub(crate) fn serialize(worker: &Worker) -> TokenStream {
    let (job, private, name) = (&worker.job, worker.private(), worker.job.to_string());
    let len = worker.args().count();
    let fields = worker.args().map(|arg| {
        let (ident, name) = (&arg.ident, arg.name());
        let write = arg.call(
            &private,
            "write_field",
            &quote!(&self.#ident, #name, &mut fields),
        );
        quote!(#write?;)
    });
    let mutable = (len > 0).then(|| quote!(mut));
    quote! {
        #[automatically_derived]
        impl #private::serde::Serialize for #job {
            fn serialize<S: #private::serde::Serializer>(&self, serializer: S) -> ::core::result::Result<S::Ok, S::Error> {
                let #mutable fields = #private::serde::Serializer::serialize_struct(serializer, #name, #len)?;
                #(#fields)*
                #private::serde::ser::SerializeStruct::end(fields)
            }
        }
    }
}

/// `impl Deserialize`: unknown fields are skipped, an absent one is read as none.
pub(crate) fn deserialize(worker: &Worker) -> TokenStream {
    let (job, private, name) = (&worker.job, worker.private(), worker.job.to_string());
    let expecting = format!("a job of class {}", worker.class());
    let idents: Vec<&Ident> = worker.args().map(|arg| &arg.ident).collect();
    let names: Vec<String> = worker.args().map(|arg| arg.name()).collect();
    let calls = |method, args: fn(&Ident, &str) -> TokenStream| -> Vec<TokenStream> {
        worker
            .args()
            .map(|arg| arg.call(&private, method, &args(&arg.ident, &arg.name())))
            .collect()
    };
    let read_field = calls(
        "read_field",
        |ident, name| quote!(#name, &mut #ident, &mut map),
    );
    let required = calls("required", |ident, name| quote!(#name, #ident));
    let read_element = calls("read_element", |_, name| quote!(#name, &mut seq));
    quote! {
        #[automatically_derived]
        impl<'de> #private::serde::Deserialize<'de> for #job {
            fn deserialize<D: #private::serde::Deserializer<'de>>(deserializer: D) -> ::core::result::Result<Self, D::Error> {
                struct Fields;

                impl<'de> #private::serde::de::Visitor<'de> for Fields {
                    type Value = #job;

                    fn expecting(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        f.write_str(#expecting)
                    }

                    fn visit_map<A: #private::serde::de::MapAccess<'de>>(self, mut map: A) -> ::core::result::Result<#job, A::Error> {
                        #(let mut #idents = ::core::option::Option::None;)*
                        while let ::core::option::Option::Some(name) = map.next_key::<::std::string::String>()? {
                            match name.as_str() {
                                #(#names => #read_field?,)*
                                _ => {
                                    map.next_value::<#private::serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        ::core::result::Result::Ok(#job { #(#idents: #required?),* })
                    }

                    fn visit_seq<A: #private::serde::de::SeqAccess<'de>>(self, mut seq: A) -> ::core::result::Result<#job, A::Error> {
                        ::core::result::Result::Ok(#job { #(#idents: #read_element?),* })
                    }
                }

                #private::serde::Deserializer::deserialize_struct(deserializer, #name, &[#(#names),*], Fields)
            }
        }
    }
}
