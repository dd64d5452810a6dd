//! Whole-product tests: the real server, the real programs, the real browser, the real window, and kills.
//!
//! Each module says in its test names what a user can rely on. The programs are those that cargo built beside the
//! tests; `cargo xtask test` builds them first.
#![cfg(test)]

mod acceptance;
mod alerts;
mod bad_input;
mod browser;
mod data;
mod followed;
mod foreign;
mod harness;
mod interface;
mod kills;
mod learning;
mod merge;
mod mlflow;
mod multi_label;
mod product;
mod retention;
mod sources;
mod runs;
mod terminal;
mod window;
