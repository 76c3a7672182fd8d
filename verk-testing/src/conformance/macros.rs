//! The macro that makes tests of the cases.

/// Makes a `#[tokio::test]` of every case of the [conformance suite](crate::conformance).
///
/// The argument is an expression for a new [`Harness`](crate::conformance::Harness), which is
/// evaluated once for each test and may `.await`. The tests are in modules of the same names as
/// those of the suite. Call it once in a module.
///
/// # Example
///
/// ```
/// verk_testing::storage_conformance!(verk_testing::MemoryStorage::default());
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! storage_conformance {
    ($harness:expr $(,)?) => {
        async fn conformance_harness() -> impl $crate::conformance::Harness {
            $harness
        }

        $crate::__conformance_cases!(__conformance_tests);
    };
}

/// Lists every case of the [conformance suite](crate::conformance), as a `Vec` of
/// [`Case`](crate::conformance::Case), for harnesses of one type.
///
/// For harnesses that share what takes long to start, so that a test of its own for each case would
/// take too long.
///
/// # Example
///
/// ```
/// use verk_testing::{MemoryStorage, conformance::Case};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let cases: Vec<Case<MemoryStorage>> = verk_testing::conformance_cases!(MemoryStorage);
/// let of_queues = cases.iter().filter(|case| case.name().starts_with("queue::"));
/// for case in of_queues.take(3) {
///     case.run(&MemoryStorage::default()).await;
/// }
/// # }
/// ```
#[macro_export]
macro_rules! conformance_cases {
    ($harness:ty) => {
        $crate::__conformance_cases!(__conformance_list[$harness])
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_list {
    ([$harness:ty] $($module:ident { $($case:ident,)* })*) => {
        vec![$($(
            $crate::conformance::Case::<$harness>::new(
                concat!(stringify!($module), "::", stringify!($case)),
                |harness| Box::pin($crate::conformance::$module::$case(harness)),
            ),
        )*)*]
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($($module:ident { $($case:ident,)* })*) => {
        $(mod $module {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let harness = super::conformance_harness().await;
                    $crate::conformance::run_case($crate::conformance::$module::$case(&harness))
                        .await;
                }
            )*
        })*
    };
}

// `__conformance_cases`, which `build.rs` makes of the functions in this folder.
include!(concat!(env!("OUT_DIR"), "/conformance_cases.rs"));
