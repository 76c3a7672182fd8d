//! Compares the expansion of `tests/input` with `tests/output`. `BLESS=1 cargo test -p verk-macros`
//! writes `tests/output` again: read the difference.

use std::{env, fs, path::Path};

use proc_macro2::TokenStream;
use quote::ToTokens;
use syn::{File, Item, Meta};

#[test]
fn expansions_are_as_before() {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests");
    let bless = env::var_os("BLESS").is_some();
    let mut changed = Vec::new();
    let mut inputs = 0;
    for entry in fs::read_dir(tests.join("input")).unwrap() {
        let input = entry.unwrap().path();
        let output = tests.join("output").join(input.file_name().unwrap());
        let expansion = expand(&fs::read_to_string(&input).unwrap());
        inputs += 1;
        if bless {
            fs::write(output, expansion).unwrap();
        } else if fs::read_to_string(&output).ok().as_deref() != Some(&*expansion) {
            changed.push(format!("{} should be:\n{expansion}", output.display()));
        }
    }
    assert!(inputs > 0, "no inputs");
    assert!(changed.is_empty(), "{}", changed.join("\n"));
}

fn expand(input: &str) -> String {
    let file = syn::parse_file(input).unwrap();
    let [item] = file.items.as_slice() else {
        panic!("one item a file");
    };
    let mut item = item.clone();
    let args = take_args(&mut item);
    let expansion = crate::expand::worker(args, item.into_token_stream());
    prettyplease::unparse(&syn::parse2::<File>(expansion).unwrap())
}

/// Takes our attribute off, as rustc does before it calls the macro.
fn take_args(item: &mut Item) -> TokenStream {
    let attrs = match item {
        Item::Fn(item) => &mut item.attrs,
        Item::Struct(item) => &mut item.attrs,
        _ => panic!("no function and no struct"),
    };
    let place = attrs
        .iter()
        .position(|attr| attr.path().segments.last().unwrap().ident == "worker")
        .expect("our attribute");
    match attrs.remove(place).meta {
        Meta::List(meta) => meta.tokens,
        _ => TokenStream::new(),
    }
}
