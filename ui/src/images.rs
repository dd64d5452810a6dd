//! Images of samples as textures: asked for when shown, the longest unseen forgotten first.

use crate::api::Api;
use egui::{ColorImage, TextureHandle, TextureOptions};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Textures that are kept.
const KEPT: usize = 1_500;
/// Requests under way at once.
const IN_FLIGHT: usize = 8;
/// Images decoded in one frame at most.
const DECODED: usize = 12;

enum Image {
    Waiting,
    Ready(TextureHandle),
    Failed(String),
}

/// What can be drawn of an image now.
pub(crate) enum Shown {
    Waiting,
    Ready(TextureHandle),
    Failed(String),
}

type Arrived = Arc<Mutex<Vec<(String, Result<Vec<u8>, String>)>>>;

pub(crate) struct Images {
    api: Api,
    images: HashMap<String, (Image, u64)>,
    arrived: Arrived,
    in_flight: usize,
    frame: u64,
}

impl Images {
    pub(crate) fn new(api: Api) -> Images {
        Images { api, images: HashMap::new(), arrived: Arrived::default(), in_flight: 0, frame: 0 }
    }

    /// Begins a frame: takes what arrived, forgets what was unseen for longest.
    pub(crate) fn begin_frame(&mut self, ctx: &egui::Context) {
        self.frame += 1;
        let arrived: Vec<_> = {
            let mut all = self.arrived.lock().unwrap_or_else(PoisonError::into_inner);
            let count = all.len().min(DECODED);
            if all.len() > count {
                ctx.request_repaint();
            }
            all.drain(..count).collect()
        };
        for (path, bytes) in arrived {
            self.in_flight -= 1;
            let image = match bytes.and_then(|bytes| decode(&bytes)) {
                Ok(pixels) => {
                    // Small images are shown as they are: square pixels, not a blur.
                    let options = if pixels.size[0].max(pixels.size[1]) <= 64 {
                        TextureOptions::NEAREST
                    } else {
                        TextureOptions::LINEAR
                    };
                    Image::Ready(ctx.load_texture(path.clone(), pixels, options))
                }
                Err(why) => Image::Failed(why),
            };
            self.images.insert(path, (image, self.frame));
        }
        if self.images.len() > KEPT {
            let mut ages: Vec<u64> = self.images.values().map(|(_, seen)| *seen).collect();
            ages.sort_unstable();
            let oldest = ages[self.images.len() - KEPT * 3 / 4];
            self.images.retain(|_, (image, seen)| *seen > oldest || matches!(image, Image::Waiting));
        }
    }

    /// The image at a path, asked for if it is not there.
    pub(crate) fn get(&mut self, path: &str) -> Shown {
        if let Some((image, seen)) = self.images.get_mut(path) {
            *seen = self.frame;
            return match image {
                Image::Waiting => Shown::Waiting,
                Image::Ready(texture) => Shown::Ready(texture.clone()),
                Image::Failed(why) => Shown::Failed(why.clone()),
            };
        }
        if self.in_flight < IN_FLIGHT {
            self.in_flight += 1;
            self.images.insert(path.to_owned(), (Image::Waiting, self.frame));
            let (arrived, key) = (self.arrived.clone(), path.to_owned());
            self.api.bytes(path, move |bytes| {
                let bytes = bytes.map_err(|error| error.message);
                arrived.lock().unwrap_or_else(PoisonError::into_inner).push((key, bytes));
            });
        }
        Shown::Waiting
    }
}

fn decode(bytes: &[u8]) -> Result<ColorImage, String> {
    let image = image::load_from_memory(bytes).map_err(|why| why.to_string())?.into_rgb8();
    Ok(ColorImage::from_rgb([image.width() as usize, image.height() as usize], image.as_raw()))
}
