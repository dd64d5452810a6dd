//! Decoding images from untrusted bytes, upright, bounded, and scaling them.
//!
//! It opens no files and keeps no cache. Start with [`inspect`] (what is this, without decoding it) and [`decode`].

mod decode;
mod scale;

pub use decode::{decode, encode_jpeg, encode_png, inspect, Facts, MediaError, MAX_PIXELS};
pub use image::RgbImage;
pub use scale::{square, thumbnail};
