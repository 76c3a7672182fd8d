//! The places of a worker in a program, and its names.
#![deny(warnings, missing_docs, unreachable_pub)]

use verk::Worker as _;

/// Jobs.
pub mod jobs {
    #[verk::worker]
    pub(super) async fn for_the_parent(path: String) {
        drop(path);
    }

    pub mod mail {
        //! A public module.

        /// A public worker.
        #[verk::worker]
        #[allow(clippy::too_many_arguments)]
        pub async fn send2_users(a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8) {
            let _ = (a, b, c, d, e, f, g, h);
        }

        #[verk::worker]
        /// An old worker.
        #[doc(hidden)]
        #[deprecated = "use another"]
        pub async fn old(path: String) {
            drop(path);
        }
    }
}

#[verk::worker]
async fn r#type() {}

#[verk::worker]
async fn __private() {}

#[verk::worker(class = "Absent")]
#[cfg(any())]
async fn absent(no: Such) {}

#[verk::worker]
#[cfg(test)]
async fn present() {}

#[verk::worker(crate = "self::facade::verk")]
async fn by_another_name() {}

/// A facade.
pub mod facade {
    pub use ::verk;
}

macro_rules! worker {
    ($name:ident, $arg:ident: $type:ty, $queue:literal) => {
        #[verk::worker(queue = $queue, crate = $crate::places::facade::verk)]
        async fn $name($arg: $type) {
            drop($arg);
        }
    };
}

worker!(by_a_macro, path: String, "low");

#[test]
fn accepted() {
    #[verk::worker]
    async fn local(path: String) {
        drop(path);
    }

    assert_eq!(jobs::ForTheParent::new("a").path, "a");
    assert_eq!(jobs::mail::Send2Users::CLASS, "Send2Users");
    assert_eq!(Type::CLASS, "Type");
    assert_eq!(Private::CLASS, "Private");
    assert_eq!(Present::CLASS, "Present");
    assert_eq!(ByAnotherName::CLASS, "ByAnotherName");
    assert_eq!(ByAMacro::OPTIONS.queue, "low");
    assert_eq!(Local::new("a").path, "a");
}
