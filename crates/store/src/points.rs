//! The file format of metric points and their summary buckets.
//!
//! A block of points begins with a byte that names its encoding: 0 for plain little-endian columns (steps, wall
//! times, values), 1 for three pco streams, each preceded by its length as a little-endian u32. Buckets are eight
//! little-endian columns of eight bytes, row by row; the level of a grown chunk is eight pco streams instead.

use crate::{Result, StoreError};
use assay_domain::{Bucket, Point};

/// Points of a sealed chunk; also the points that wait in small blocks before they are sealed.
pub(crate) const CHUNK: usize = 1024;
/// Points of one summary bucket of a sealed chunk.
pub(crate) const BUCKET: usize = 128;
/// Sealed chunks that grow together into one.
pub(crate) const GROWN: usize = 16;

const PLAIN: u8 = 0;
const PCO: u8 = 1;

/// Points as they wait to be sealed: quick to write.
pub(crate) fn plain(points: &[Point]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + points.len() * 24);
    bytes.push(PLAIN);
    bytes.extend(points.iter().flat_map(|point| point.step.to_le_bytes()));
    bytes.extend(points.iter().flat_map(|point| point.wall_ms.to_le_bytes()));
    bytes.extend(points.iter().flat_map(|point| point.value.to_le_bytes()));
    bytes
}

/// Points of a sealed chunk: small.
pub(crate) fn compressed(points: &[Point]) -> Result<Vec<u8>> {
    let config = pco::ChunkConfig::default();
    let failed = |why| StoreError::unreadable("block of points", why);
    let steps: Vec<i64> = points.iter().map(|point| point.step).collect();
    let walls: Vec<i64> = points.iter().map(|point| point.wall_ms).collect();
    let values: Vec<f64> = points.iter().map(|point| point.value).collect();
    let mut bytes = vec![PCO];
    for stream in [
        pco::standalone::simple_compress(&steps, &config).map_err(failed)?,
        pco::standalone::simple_compress(&walls, &config).map_err(failed)?,
        pco::standalone::simple_compress(&values, &config).map_err(failed)?,
    ] {
        bytes.extend((stream.len() as u32).to_le_bytes());
        bytes.extend(stream);
    }
    Ok(bytes)
}

/// Points as columns of one length.
#[derive(Default)]
pub(crate) struct Points {
    steps: Vec<i64>,
    walls: Vec<i64>,
    values: Vec<f64>,
}

impl Points {
    pub(crate) fn iter(&self) -> impl Iterator<Item = Point> + '_ {
        let columns = self.steps.iter().zip(&self.walls).zip(&self.values);
        columns.map(|((&step, &wall_ms), &value)| Point { step, wall_ms, value })
    }
}

/// Reads a block of points of either encoding.
pub(crate) fn decode(bytes: &[u8]) -> Result<Points> {
    let (steps, walls, values) = match bytes.split_first() {
        Some((&PLAIN, columns)) if columns.len() % 24 == 0 => {
            let (steps, rest) = columns.split_at(columns.len() / 3);
            let (walls, values) = rest.split_at(steps.len());
            let integers = |column: &[u8]| words(column).map(i64::from_le_bytes).collect::<Vec<_>>();
            (integers(steps), integers(walls), words(values).map(f64::from_le_bytes).collect())
        }
        Some((&PCO, mut streams)) => {
            let steps = pco::standalone::simple_decompress(next_stream(&mut streams)?).map_err(damaged)?;
            let walls = pco::standalone::simple_decompress(next_stream(&mut streams)?).map_err(damaged)?;
            let values: Vec<f64> = pco::standalone::simple_decompress(next_stream(&mut streams)?).map_err(damaged)?;
            (steps, walls, values)
        }
        _ => return Err(damaged("unknown encoding")),
    };
    if steps.len() != walls.len() || steps.len() != values.len() {
        return Err(damaged("columns of different lengths"));
    }
    Ok(Points { steps, walls, values })
}

fn damaged(why: impl std::fmt::Display) -> StoreError {
    StoreError::unreadable("block of points", why)
}

fn words(column: &[u8]) -> impl Iterator<Item = [u8; 8]> + '_ {
    column.chunks_exact(8).map(|chunk| {
        let mut word = [0; 8];
        word.copy_from_slice(chunk);
        word
    })
}

fn next_stream<'a>(streams: &mut &'a [u8]) -> Result<&'a [u8]> {
    let (length, rest) = streams.split_first_chunk::<4>().ok_or_else(|| damaged("it is cut off"))?;
    let length = u32::from_le_bytes(*length) as usize;
    let (stream, rest) = rest.split_at_checked(length).ok_or_else(|| damaged("it is cut off"))?;
    *streams = rest;
    Ok(stream)
}

/// The level above a chunk: one bucket for every [`BUCKET`] points.
pub(crate) fn level_of(points: &[Point]) -> Vec<Bucket> {
    points.chunks(BUCKET).filter_map(merged).collect()
}

fn merged(points: &[Point]) -> Option<Bucket> {
    points.iter().map(|&point| Bucket::of(point)).reduce(Bucket::merged)
}

/// The one bucket of all points.
pub(crate) fn whole_of(points: &[Point]) -> Option<Bucket> {
    merged(points)
}

/// One bucket for every [`CHUNK`] points.
pub(crate) fn coarse_of(points: &[Point]) -> Vec<Bucket> {
    points.chunks(CHUNK).filter_map(merged).collect()
}

/// Buckets as small bytes.
pub(crate) fn compress_buckets(buckets: &[Bucket]) -> Result<Vec<u8>> {
    let config = pco::ChunkConfig::default();
    let failed = |why| StoreError::unreadable("level of a series", why);
    let whole = |column: fn(&Bucket) -> i64| -> Result<Vec<u8>> {
        let values: Vec<i64> = buckets.iter().map(column).collect();
        pco::standalone::simple_compress(&values, &config).map_err(failed)
    };
    let real = |column: fn(&Bucket) -> f64| -> Result<Vec<u8>> {
        let values: Vec<f64> = buckets.iter().map(column).collect();
        pco::standalone::simple_compress(&values, &config).map_err(failed)
    };
    let mut bytes = Vec::new();
    for stream in [
        whole(|bucket| bucket.step)?,
        whole(|bucket| bucket.last_step)?,
        whole(|bucket| bucket.wall_ms)?,
        whole(|bucket| bucket.count as i64)?,
        whole(|bucket| bucket.odd as i64)?,
        real(|bucket| bucket.min)?,
        real(|bucket| bucket.max)?,
        real(|bucket| bucket.mean)?,
    ] {
        bytes.extend((stream.len() as u32).to_le_bytes());
        bytes.extend(stream);
    }
    Ok(bytes)
}

/// Reads small bytes back.
pub(crate) fn decompress_buckets(mut bytes: &[u8]) -> Result<Vec<Bucket>> {
    let mut whole =
        || -> Result<Vec<i64>> { pco::standalone::simple_decompress(next_stream(&mut bytes)?).map_err(damaged) };
    let [steps, last_steps, walls, counts, odds] = [whole()?, whole()?, whole()?, whole()?, whole()?];
    let mut real =
        || -> Result<Vec<f64>> { pco::standalone::simple_decompress(next_stream(&mut bytes)?).map_err(damaged) };
    let [min, max, mean] = [real()?, real()?, real()?];
    let count = steps.len();
    let lengths = [last_steps.len(), walls.len(), counts.len(), odds.len(), min.len(), max.len(), mean.len()];
    if lengths.iter().any(|length| *length != count) {
        return Err(damaged("columns of different lengths"));
    }
    let bucket = |at: usize| Bucket {
        step: steps[at],
        last_step: last_steps[at],
        wall_ms: walls[at],
        count: counts[at] as u64,
        odd: odds[at] as u64,
        min: min[at],
        max: max[at],
        mean: mean[at],
    };
    Ok((0..count).map(bucket).collect())
}

/// Buckets as bytes.
pub(crate) fn encode_buckets(buckets: &[Bucket]) -> Vec<u8> {
    let row = |bucket: &Bucket| {
        [
            bucket.step.to_le_bytes(),
            bucket.last_step.to_le_bytes(),
            bucket.wall_ms.to_le_bytes(),
            bucket.count.to_le_bytes(),
            bucket.odd.to_le_bytes(),
            bucket.min.to_le_bytes(),
            bucket.max.to_le_bytes(),
            bucket.mean.to_le_bytes(),
        ]
    };
    buckets.iter().flat_map(row).flatten().collect()
}

/// Reads buckets back.
pub(crate) fn decode_buckets(bytes: &[u8]) -> Result<Vec<Bucket>> {
    let words: Vec<[u8; 8]> = words(bytes).collect();
    if !bytes.len().is_multiple_of(64) {
        return Err(StoreError::unreadable("level of a series", "it is cut off"));
    }
    let bucket = |row: &[[u8; 8]]| Bucket {
        step: i64::from_le_bytes(row[0]),
        last_step: i64::from_le_bytes(row[1]),
        wall_ms: i64::from_le_bytes(row[2]),
        count: u64::from_le_bytes(row[3]),
        odd: u64::from_le_bytes(row[4]),
        min: f64::from_le_bytes(row[5]),
        max: f64::from_le_bytes(row[6]),
        mean: f64::from_le_bytes(row[7]),
    };
    Ok(words.chunks_exact(8).map(bucket).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bits(points: impl Iterator<Item = Point>) -> Vec<(i64, i64, u64)> {
        points.map(|point| (point.step, point.wall_ms, point.value.to_bits())).collect()
    }

    proptest! {
        #[test]
        fn both_encodings_keep_every_bit(raw in prop::collection::vec((any::<i64>(), any::<i64>(), any::<u64>()), 0..300)) {
            let points: Vec<Point> = raw
                .iter()
                .map(|&(step, wall_ms, value)| Point { step, wall_ms, value: f64::from_bits(value) })
                .collect();
            prop_assert_eq!(bits(decode(&plain(&points)).unwrap().iter()), bits(points.iter().copied()));
            prop_assert_eq!(bits(decode(&compressed(&points).unwrap()).unwrap().iter()), bits(points.iter().copied()));
        }

        #[test]
        fn both_encodings_of_buckets_keep_every_bit(raw in prop::collection::vec((any::<i64>(), any::<u64>()), 1..300)) {
            let points: Vec<Point> =
                raw.iter().map(|&(step, value)| Point { step, wall_ms: step, value: f64::from_bits(value) }).collect();
            let level: Vec<Bucket> = points.chunks(3).filter_map(merged).collect();
            let plain = encode_buckets(&level);
            prop_assert_eq!(encode_buckets(&decode_buckets(&plain).unwrap()), plain.clone());
            prop_assert_eq!(encode_buckets(&decompress_buckets(&compress_buckets(&level).unwrap()).unwrap()), plain);
        }

        #[test]
        fn hostile_bytes_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode(&bytes);
            let _ = decode_buckets(&bytes);
            let _ = decompress_buckets(&bytes);
        }
    }
}
