//! Serde for the job struct: an object with the arguments by name, as a derive would write it.
//!
//! A derive would require serde's traits for each type, in many places and wordings. This code
//! requires only `JobArg`.

use proc_macro2::{Ident, Span, TokenStream};
use quote::format_ident;

use crate::{model::Worker, tokens::code};

/// `impl Serialize`.
pub(crate) fn serialize(worker: &Worker) -> TokenStream {
    let (job, private, name) = (&worker.job, worker.private(), worker.job.to_string());
    let len = worker.args().count();
    let fields = worker.args().map(|arg| {
        let write = arg.write_field(worker);
        code!(#write;)
    });
    let mutable = (len > 0).then(|| code!(mut));
    code! {
        #[automatically_derived]
        impl #private::serde::Serialize for #job {
            fn serialize<__S: #private::serde::Serializer>(&self, serializer: __S) -> ::core::result::Result<__S::Ok, __S::Error> {
                let #mutable fields = #private::serde::Serializer::serialize_struct(serializer, #name, #len)?;
                #(#fields)*
                #private::serde::ser::SerializeStruct::end(fields)
            }
        }
    }
}

/// `impl Deserialize`: it skips unknown fields, and reads an absent one as none.
pub(crate) fn deserialize(worker: &Worker) -> TokenStream {
    let (job, private, name) = (&worker.job, worker.private(), worker.job.to_string());
    let expecting = format!("a job of class {}", worker.class());
    let idents: Vec<&Ident> = worker.args().map(|arg| &arg.ident).collect();
    let values: Vec<Ident> = (0..idents.len())
        .map(|index| format_ident!("value_{index}", span = Span::mixed_site()))
        .collect();
    let names: Vec<String> = worker.args().map(|arg| arg.name()).collect();
    let args = || worker.args().zip(&values);
    let read_field = args().map(|(arg, value)| arg.read_field(worker, value));
    let required = args().map(|(arg, value)| arg.required(worker, value));
    let read_element = worker.args().map(|arg| arg.read_element(worker));
    code! {
        #[automatically_derived]
        impl<'de> #private::serde::Deserialize<'de> for #job {
            fn deserialize<__D: #private::serde::Deserializer<'de>>(deserializer: __D) -> ::core::result::Result<Self, __D::Error> {
                struct __Visitor;

                impl<'de> #private::serde::de::Visitor<'de> for __Visitor {
                    type Value = #job;

                    fn expecting(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                        f.write_str(#expecting)
                    }

                    fn visit_map<__A: #private::serde::de::MapAccess<'de>>(self, mut map: __A) -> ::core::result::Result<#job, __A::Error> {
                        #(let mut #values = ::core::option::Option::None;)*
                        while let ::core::option::Option::Some(name) = map.next_key::<::std::string::String>()? {
                            match name.as_str() {
                                #(#names => #read_field,)*
                                _ => {
                                    map.next_value::<#private::serde::de::IgnoredAny>()?;
                                }
                            }
                        }
                        ::core::result::Result::Ok(#job { #(#idents: #required),* })
                    }

                    fn visit_seq<__A: #private::serde::de::SeqAccess<'de>>(self, mut seq: __A) -> ::core::result::Result<#job, __A::Error> {
                        ::core::result::Result::Ok(#job { #(#idents: #read_element),* })
                    }
                }

                #private::serde::Deserializer::deserialize_struct(deserializer, #name, &[#(#names),*], __Visitor)
            }
        }
    }
}
