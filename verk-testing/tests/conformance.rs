//! The conformance suite on [`MemoryStorage`](verk_testing::MemoryStorage).

verk_testing::storage_conformance!(verk_testing::MemoryStorage::default());
