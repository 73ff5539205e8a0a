//! Support for the process tests.
