//! Test-time augmentation: several views of an image whose probabilities are averaged.

/// Which views of an image a model is asked about.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Views {
    /// The image as it is.
    #[default]
    One,
    /// The image and its mirror image.
    Mirrored,
    /// Its corners and its centre, each as it is and mirrored (Krizhevsky et al. 2012).
    TenCrop,
}

impl Views {
    /// The views of this name.
    pub fn parse(name: &str) -> Option<Views> {
        match name {
            "one" => Some(Views::One),
            "mirrored" => Some(Views::Mirrored),
            "ten-crop" => Some(Views::TenCrop),
            _ => None,
        }
    }

    /// The side of the square images that views of `size` pixels are taken from: crops take seven eighths of it.
    pub fn side(self, size: usize) -> usize {
        match self {
            Views::One | Views::Mirrored => size,
            Views::TenCrop => size + size.div_ceil(7),
        }
    }

    /// All views, one after the other, of a square image of RGB bytes of [`Views::side`].
    pub(crate) fn of(self, pixels: &[u8], size: usize) -> Vec<Vec<u8>> {
        let side = self.side(size);
        let room = side - size;
        let places: &[(usize, usize)] = match self {
            Views::One | Views::Mirrored => &[(0, 0)],
            Views::TenCrop => &[(0, 0), (room, 0), (0, room), (room, room), (room / 2, room / 2)],
        };
        let mut views = Vec::new();
        for (left, top) in places {
            let row = |y: usize| &pixels[((top + y) * side + left) * 3..][..size * 3];
            views.push((0..size).flat_map(row).copied().collect());
            if self != Views::One {
                let mirrored = |y: usize| row(y).as_chunks::<3>().0.iter().rev().flatten().copied();
                views.push((0..size).flat_map(mirrored).collect());
            }
        }
        views
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_the_corners_the_centre_and_their_mirror_images() {
        let size = 14;
        let side = Views::TenCrop.side(size);
        assert_eq!(side, 16);
        // The red of a pixel says its column, its green its row.
        let pixels: Vec<u8> =
            (0..side * side).flat_map(|place| [(place % side) as u8, (place / side) as u8, 0]).collect();
        let views = Views::TenCrop.of(&pixels, size);
        let firsts: Vec<[u8; 2]> = views.iter().map(|view| [view[0], view[1]]).collect();
        assert_eq!(firsts, [[0, 0], [13, 0], [2, 0], [15, 0], [0, 2], [13, 2], [2, 2], [15, 2], [1, 1], [14, 1]]);
        assert!(views.iter().all(|view| view.len() == size * size * 3));
        assert_eq!(Views::Mirrored.of(&pixels, side).len(), 2);
        assert_eq!(Views::One.of(&pixels, side), [pixels]);
    }
}
