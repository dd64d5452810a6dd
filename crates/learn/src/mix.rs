//! Images mixed with each other within a batch: Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019).

use crate::config::Augment;
use crate::random::{beta, between, uniform};
use rand_chacha::ChaCha8Rng;

/// How the images of a batch are mixed: each with the one as far from the end as it is from the beginning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mix {
    /// So much of an image itself, the rest of its partner.
    Blend { own: f32 },
    /// The rectangle of rows and columns is the partner's.
    Paste { rows: (usize, usize), columns: (usize, usize) },
}

impl Mix {
    /// Draws a mix of images of `size` x `size` pixels by the rules, if they want one. Where both kinds are wanted, each
    /// comes half of the time.
    pub(crate) fn draw(rules: &Augment, size: usize, random: &mut ChaCha8Rng) -> Option<Mix> {
        let pastes = match (rules.mixup > 0.0, rules.cutmix > 0.0) {
            (false, false) => return None,
            (true, true) => uniform(random) < 0.5,
            (_, cutmix) => cutmix,
        };
        if !pastes {
            return Some(Mix::Blend { own: beta(random, rules.mixup) as f32 });
        }
        let side = (1.0 - beta(random, rules.cutmix)).sqrt() * size as f64;
        let mut range = || {
            let centre = between(random, 0.0, size as f64);
            let edge = |at: f64| at.round().clamp(0.0, size as f64) as usize;
            (edge(centre - side / 2.0), edge(centre + side / 2.0))
        };
        Some(Mix::Paste { rows: range(), columns: range() })
    }

    /// How much of an image is its own, of 1.
    pub(crate) fn own(&self, size: usize) -> f32 {
        match self {
            Mix::Blend { own } => *own,
            Mix::Paste { rows, columns } => {
                1.0 - ((rows.1 - rows.0) * (columns.1 - columns.0)) as f32 / (size * size) as f32
            }
        }
    }

    /// Mixes all images of a batch, each `size` x `size` RGB values.
    pub(crate) fn apply(&self, images: &mut [f32], size: usize) {
        let length = size * size * 3;
        let count = images.len() / length.max(1);
        let (front, back) = images.split_at_mut(count / 2 * length);
        for (first, second) in front.chunks_exact_mut(length).zip(back.chunks_exact_mut(length).rev()) {
            match self {
                Mix::Blend { own } => first.iter_mut().zip(second).for_each(|(a, b)| {
                    (*a, *b) = (own * *a + (1.0 - own) * *b, own * *b + (1.0 - own) * *a);
                }),
                Mix::Paste { rows, columns } => {
                    for row in rows.0..rows.1 {
                        let part = (row * size + columns.0) * 3..(row * size + columns.1) * 3;
                        first[part.clone()].swap_with_slice(&mut second[part]);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, stream};

    fn batch(count: usize, size: usize) -> Vec<f32> {
        (0..count).flat_map(|image| vec![image as f32; size * size * 3]).collect()
    }

    #[test]
    fn each_image_is_blended_with_its_partner() {
        let mut images = batch(3, 2);
        Mix::Blend { own: 0.75 }.apply(&mut images, 2);
        assert_eq!([images[0], images[12], images[24]], [0.5, 1.0, 1.5]);
    }

    #[test]
    fn the_pasted_part_is_what_an_image_lost() {
        let mix = Mix::Paste { rows: (1, 3), columns: (0, 2) };
        let mut images = batch(2, 4);
        mix.apply(&mut images, 4);
        let own = images[..48].iter().filter(|value| **value == 0.0).count();
        assert_eq!(own as f32 / 48.0, mix.own(4));
        assert_eq!(images[(4 + 1) * 3], 1.0);
        assert_eq!(images[48 + (4 + 1) * 3], 0.0);
    }

    #[test]
    fn draws_follow_the_rules() {
        let draws = |mixup: f64, cutmix: f64| -> Vec<Option<Mix>> {
            let rules = Augment { mixup, cutmix, ..Augment::default() };
            (0..200).map(|epoch| Mix::draw(&rules, 16, &mut stream(1, Purpose::Order { epoch }))).collect()
        };
        assert!(draws(0.0, 0.0).iter().all(Option::is_none));
        assert!(draws(0.2, 0.0).iter().all(|mix| matches!(mix, Some(Mix::Blend { own }) if (0.0..=1.0).contains(own))));
        let both = draws(0.2, 1.0);
        let pasted = both.iter().filter(|mix| matches!(mix, Some(Mix::Paste { .. }))).count();
        assert!((60..140).contains(&pasted), "{pasted}");
        assert!(both.iter().flatten().all(|mix| (0.0..=1.0).contains(&mix.own(16))));
    }
}
