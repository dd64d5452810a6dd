//! Decoding images from untrusted bytes, upright, bounded, and scaling them.
//!
//! It opens no files and keeps no cache. Start with [`inspect`] (what is this, without decoding it) and [`decode`].

mod change;
mod decode;
mod exif;
mod jpeg;
mod scale;
mod tiff;
mod window;

pub use change::{blurred, brightened, coarsened, turned};
pub use decode::{Facts, MAX_PIXELS, MediaError, decode, encode_jpeg, encode_png, inspect};
pub use image::RgbImage;
pub use scale::{square, thumbnail};
