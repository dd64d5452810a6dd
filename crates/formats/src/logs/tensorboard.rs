//! TensorBoard's event files: a sequence of records, each of them a length, a checksum of it, a message and a checksum of that.
//!
//! The format is TensorFlow's: `tensorflow/core/lib/io/record_writer.h` for the records, `tensorflow/core/util/event.proto` and
//! `tensorboard/plugins/hparams/plugin_data.proto` for what is in them.

use super::{histogram, short_key};
use assay_domain::foreign::{Contents, Logged, Part};
use assay_domain::{Point, RunStatus, Timestamp};
use half::{bf16, f16};
use prost::Message;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// A part holds about as many bytes of records at most.
const PART_BYTES: u64 = 8 << 20;

/// No writer makes larger records; a length beyond it is damage.
const RECORD_BYTES: u64 = 1 << 30;

/// Reads an event file on from this byte. A record that is not whole yet is left for the next time.
///
/// # Errors
/// When the file does not open or read. Damage in it is no error: what is before it is returned with a reason.
pub(super) fn read(path: &Path, from: u64) -> std::io::Result<Part> {
    let mut file = File::open(path)?;
    let total = file.metadata()?.len();
    let mut part = Part { read: from, ..Part::default() };
    part.damage = super::shortened(total, from);
    if part.damage.is_some() {
        return Ok(part);
    }
    let mut heard = None;
    file.seek(SeekFrom::Start(from))?;
    let mut file = BufReader::new(file);
    while total - part.read >= FRAME {
        if part.read - from >= PART_BYTES {
            part.has_more = true;
            break;
        }
        let mut head = [0; 12];
        file.read_exact(&mut head)?;
        let [length, sum] = [&head[..8], &head[8..]];
        let wanted = u32::from_le_bytes(sum.try_into().unwrap_or_default());
        let length_of_record = u64::from_le_bytes(length.try_into().unwrap_or_default());
        if masked(length) != wanted || length_of_record > RECORD_BYTES {
            part.damage = Some(format!("it is damaged at byte {}", part.read));
            break;
        }
        if total - part.read - FRAME < length_of_record {
            break;
        }
        let mut record = vec![0; length_of_record as usize];
        file.read_exact(&mut record)?;
        let mut sum = [0; 4];
        file.read_exact(&mut sum)?;
        let event = (masked(&record) == u32::from_le_bytes(sum)).then(|| Event::decode(record.as_slice()));
        let Some(Ok(event)) = event else {
            part.damage = Some(format!("it is damaged at byte {}", part.read));
            break;
        };
        part.read += FRAME + length_of_record;
        add(&mut part, event, &mut heard);
    }
    part.logged.extend(heard.map(Logged::Heard));
    Ok(part)
}

/// The bytes of a record beside its message.
const FRAME: u64 = 8 + 4 + 4;

/// The checksum that records carry.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn add(part: &mut Part, event: Event, heard: &mut Option<Timestamp>) {
    let at = Timestamp((event.wall_time * 1e3).round() as i64);
    if part.logged.is_empty() {
        part.logged.push(Logged::Began(at));
    }
    *heard = (*heard).max(Some(at));
    // A resumed training discards later steps (`purge_step` of the writer).
    if event.session_log.is_some_and(|session| session.status == SESSION_START) {
        part.logged.push(Logged::Restarted { step: event.step, keys: Vec::new() });
    }
    for value in event.summary.unwrap_or_default().value {
        add_value(part, value, event.step, at);
    }
}

fn add_value(part: &mut Part, value: SummaryValue, step: i64, at: Timestamp) {
    let SummaryValue { tag, simple_value, image, histogram, tensor, metadata } = value;
    let plugin = metadata.and_then(|metadata| metadata.plugin_data).unwrap_or_default();
    let point = |value| Point { step, wall_ms: at.0, value };
    let tag = short_key(tag, &mut part.notes);
    if plugin.plugin_name == "hparams" {
        return add_session(part, &plugin.content);
    }
    if let Some(value) = simple_value {
        return part.logged.push(Logged::Point(tag, point(shortest(value))));
    }
    if let Some(image) = image {
        return part.logged.push(file(&tag, step, image.encoded));
    }
    if let Some(histogram) = histogram {
        return add_histogram(part, &tag, histogram.edges_and_counts(), point);
    }
    let Some(tensor) = tensor else {
        part.left_out += 1;
        return;
    };
    match plugin.plugin_name.as_str() {
        // Width and height come before the images.
        "images" if tensor.string_val.len() > 2 => {
            let many = tensor.string_val.len() > 3;
            for (index, image) in tensor.string_val.into_iter().skip(2).enumerate() {
                let tag = if many { format!("{tag}/{index}") } else { tag.clone() };
                part.logged.push(file(&tag, step, image));
            }
        }
        "text" if !tensor.string_val.is_empty() => part.logged.push(file(&tag, step, tensor.string_val.join(&b'\n'))),
        "histograms" => add_histogram(part, &tag, tensor.edges_and_counts(), point),
        _ if tensor.string_val.is_empty() => match tensor_number(tensor) {
            Some(value) => part.logged.push(Logged::Point(tag, point(value))),
            None => part.left_out += 1,
        },
        _ => part.left_out += 1,
    }
}

fn add_histogram(part: &mut Part, tag: &str, of: Option<(Vec<f64>, Vec<f64>)>, point: impl Fn(f64) -> Point) {
    match of.and_then(|(edges, counts)| histogram::percentiles(&edges, &counts)) {
        Some(values) => part.logged.extend(histogram::points(tag, values, point)),
        None => part.left_out += 1,
    }
}

fn add_session(part: &mut Part, content: &[u8]) {
    let Ok(session) = HparamsPlugin::decode(content) else {
        part.left_out += 1;
        return;
    };
    for (key, value) in session.start.unwrap_or_default().hparams {
        let text = value.number.map(|number| number.to_string()).or(value.string);
        let text = text.or(value.bool.map(|bool| bool.to_string())).unwrap_or_default();
        part.logged.push(Logged::Param(key, text));
    }
    if let Some(end) = session.end {
        let status = match end.status {
            2 => RunStatus::Failed,
            3 => RunStatus::Running,
            _ => RunStatus::Finished,
        };
        let at = (end.end_time_secs > 0.0).then(|| Timestamp((end.end_time_secs * 1e3).round() as i64));
        part.logged.push(Logged::Status(status, at));
    }
}

impl Histogram {
    /// Its buckets: they begin at the least value, and each ends at its limit.
    fn edges_and_counts(self) -> Option<(Vec<f64>, Vec<f64>)> {
        // Those at the ends may be without a bound.
        let limits = self.bucket_limit.into_iter().map(|limit| limit.clamp(self.min, self.max.max(self.min)));
        (self.min <= self.max).then(|| (std::iter::once(self.min).chain(limits).collect(), self.bucket))
    }
}

impl Tensor {
    /// The buckets in its rows of left edge, right edge and count.
    fn edges_and_counts(self) -> Option<(Vec<f64>, Vec<f64>)> {
        let (numbers, rest) = self.content.as_chunks::<8>();
        let values: Vec<f64> = match rest {
            [] if self.dtype == DOUBLE && !numbers.is_empty() => {
                numbers.iter().map(|&n| f64::from_le_bytes(n)).collect()
            }
            _ => self.double_val,
        };
        let (rows, rest) = values.as_chunks::<3>();
        let first = rows.first().filter(|_| rest.is_empty())?[0];
        let edges = std::iter::once(first).chain(rows.iter().map(|row| row[1])).collect();
        Some((edges, rows.iter().map(|row| row[2]).collect()))
    }
}

/// The double that prints as the single does: what was logged as 0.1 is 0.1.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or_else(|_| value.into())
}

/// The number in a tensor of one element.
fn tensor_number(tensor: Tensor) -> Option<f64> {
    let Tensor { dtype, content, half_val, float_val, double_val, int_val, int64_val, bool_val, .. } = tensor;
    let half = |bits: u16| match dtype {
        BFLOAT16 => shortest(bf16::from_bits(bits).to_f32()),
        _ => f16::from_bits(bits).to_f64(),
    };
    match (dtype, content.as_slice(), content.len()) {
        (FLOAT, bytes, 4) => return bytes.try_into().ok().map(|bytes| shortest(f32::from_le_bytes(bytes))),
        (DOUBLE, bytes, 8) => return bytes.try_into().ok().map(f64::from_le_bytes),
        (INT32, bytes, 4) => return bytes.try_into().ok().map(|bytes| i32::from_le_bytes(bytes).into()),
        (INT64, bytes, 8) => return bytes.try_into().ok().map(|bytes| i64::from_le_bytes(bytes) as f64),
        (HALF | BFLOAT16, bytes, 2) => return bytes.try_into().ok().map(|bytes| half(u16::from_le_bytes(bytes))),
        (_, _, 0) => {}
        _ => return None,
    }
    match (float_val.as_slice(), double_val.as_slice(), int_val.as_slice(), int64_val.as_slice()) {
        ([one], [], [], []) => Some(shortest(*one)),
        ([], [one], [], []) => Some(*one),
        ([], [], [one], []) => Some((*one).into()),
        ([], [], [], [one]) => Some(*one as f64),
        ([], [], [], []) => match (half_val.as_slice(), bool_val.as_slice()) {
            ([bits], []) => Some(half(*bits as u16)),
            ([], [one]) => Some(f64::from(u8::from(*one))),
            _ => None,
        },
        _ => None,
    }
}

/// What was logged with this tag, which may be anything, at a step, as a file.
fn file(tag: &str, step: i64, bytes: Vec<u8>) -> Logged {
    Logged::File(file_name(tag, step, &bytes), Contents::Bytes(bytes))
}

fn file_name(tag: &str, step: i64, bytes: &[u8]) -> String {
    let ending = match bytes {
        [0x89, b'P', b'N', b'G', ..] => "png",
        [0xff, 0xd8, ..] => "jpg",
        [b'G', b'I', b'F', ..] => "gif",
        _ => "txt",
    };
    let parts =
        tag.split(['/', '\\']).map(|part| part.replace(|letter: char| letter.is_control() || letter == ':', "_"));
    let mut parts: Vec<String> = parts.filter(|part| !matches!(part.as_str(), "" | "." | "..")).collect();
    parts.push(format!("{step}.{ending}"));
    parts.join("/")
}

/// `SessionLog.START`: a writer begins.
const SESSION_START: i32 = 1;

const FLOAT: i32 = 1;
const DOUBLE: i32 = 2;
const INT32: i32 = 3;
const INT64: i32 = 9;
const BFLOAT16: i32 = 14;
const HALF: i32 = 19;

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<SummaryValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<Image>,
    #[prost(message, optional, tag = "5")]
    histogram: Option<Histogram>,
    #[prost(message, optional, tag = "8")]
    tensor: Option<Tensor>,
    #[prost(message, optional, tag = "9")]
    metadata: Option<Metadata>,
}

#[derive(Clone, PartialEq, Message)]
struct Image {
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(double, tag = "1")]
    min: f64,
    #[prost(double, tag = "2")]
    max: f64,
    #[prost(double, repeated, tag = "6")]
    bucket_limit: Vec<f64>,
    #[prost(double, repeated, tag = "7")]
    bucket: Vec<f64>,
}

#[derive(Clone, PartialEq, Message)]
struct Metadata {
    #[prost(message, optional, tag = "1")]
    plugin_data: Option<PluginData>,
}

#[derive(Clone, PartialEq, Message)]
struct PluginData {
    #[prost(string, tag = "1")]
    plugin_name: String,
    #[prost(bytes = "vec", tag = "2")]
    content: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Tensor {
    #[prost(int32, tag = "1")]
    dtype: i32,
    #[prost(bytes = "vec", tag = "4")]
    content: Vec<u8>,
    #[prost(float, repeated, tag = "5")]
    float_val: Vec<f32>,
    #[prost(double, repeated, tag = "6")]
    double_val: Vec<f64>,
    #[prost(int32, repeated, tag = "7")]
    int_val: Vec<i32>,
    #[prost(bytes = "vec", repeated, tag = "8")]
    string_val: Vec<Vec<u8>>,
    #[prost(int64, repeated, tag = "10")]
    int64_val: Vec<i64>,
    #[prost(bool, repeated, tag = "11")]
    bool_val: Vec<bool>,
    #[prost(int32, repeated, tag = "13")]
    half_val: Vec<i32>,
}

#[derive(Clone, PartialEq, Message)]
struct HparamsPlugin {
    #[prost(message, optional, tag = "3")]
    start: Option<SessionStart>,
    #[prost(message, optional, tag = "4")]
    end: Option<SessionEnd>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionStart {
    #[prost(btree_map = "string, message", tag = "1")]
    hparams: BTreeMap<String, HparamValue>,
}

#[derive(Clone, PartialEq, Message)]
struct HparamValue {
    #[prost(double, optional, tag = "2")]
    number: Option<f64>,
    #[prost(string, optional, tag = "3")]
    string: Option<String>,
    #[prost(bool, optional, tag = "4")]
    bool: Option<bool>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionEnd {
    #[prost(int32, tag = "1")]
    status: i32,
    #[prost(double, tag = "2")]
    end_time_secs: f64,
}

#[cfg(test)]
mod tests {
    use super::super::{Named, hostile};
    use super::*;
    use proptest::prelude::*;

    fn record(message: &[u8]) -> Vec<u8> {
        let length = (message.len() as u64).to_le_bytes();
        [&length[..], &masked(&length).to_le_bytes(), message, &masked(message).to_le_bytes()].concat()
    }

    fn scalar(step: i64, value: f32) -> Vec<u8> {
        let value = SummaryValue { tag: "loss".into(), simple_value: Some(value), ..SummaryValue::default() };
        let event = Event { wall_time: 1.5, step, summary: Some(Summary { value: vec![value] }), session_log: None };
        record(&event.encode_to_vec())
    }

    fn points(part: &Part) -> Vec<Logged> {
        part.logged.iter().filter(|logged| matches!(logged, Logged::Point(..))).cloned().collect()
    }

    fn of(bytes: &[u8], from: u64) -> Part {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("events.out.tfevents.1");
        std::fs::write(&path, bytes).expect("a file");
        read(&path, from).expect("it reads")
    }

    #[test]
    fn a_file_that_is_cut_anywhere_gives_what_is_whole_and_goes_on_from_there() {
        let whole: Vec<u8> = (0..4).flat_map(|step| scalar(step, 0.1)).collect();
        let all = of(&whole, 0);
        assert_eq!(points(&all).len(), 4);
        assert_eq!(points(&all)[1], Logged::Point("loss".into(), Point { step: 1, wall_ms: 1500, value: 0.1 }));
        for cut in 0..=whole.len() {
            let first = of(&whole[..cut], 0);
            assert_eq!(first.damage, None, "cut at {cut}");
            let rest = of(&whole, first.read);
            assert_eq!([points(&first), points(&rest)].concat(), points(&all), "cut at {cut}");
        }
    }

    #[test]
    fn no_flipped_bit_and_no_length_makes_it_panic_or_lose_what_is_before() {
        let whole: Vec<u8> = (0..2).flat_map(|step| scalar(step, 0.25)).collect();
        let second = scalar(0, 0.25).len();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let part = of(&bytes, 0);
            assert!(part.damage.is_some(), "bit {bit}");
            assert_eq!(points(&part).len(), usize::from(bit / 8 >= second), "bit {bit}");
        }
        assert!(of(&record(b"no message\xff"), 0).damage.is_some());
        assert!(of(&[0; 64], 0).damage.is_some());
        assert!(of(b"", 0).damage.is_none());
        assert!(of(&whole, whole.len() as u64 + 1).damage.is_some(), "it became shorter");
    }

    #[test]
    fn tensors_of_one_number_of_any_type_are_points_and_others_are_counted() {
        let number = |tensor: Tensor| tensor_number(tensor);
        let base = Tensor::default;
        assert_eq!(number(Tensor { dtype: FLOAT, float_val: vec![0.1], ..base() }), Some(0.1));
        assert_eq!(number(Tensor { dtype: FLOAT, content: 0.1f32.to_le_bytes().to_vec(), ..base() }), Some(0.1));
        assert_eq!(number(Tensor { dtype: DOUBLE, double_val: vec![2.5], ..base() }), Some(2.5));
        assert_eq!(number(Tensor { dtype: INT64, content: (-3i64).to_le_bytes().to_vec(), ..base() }), Some(-3.0));
        assert_eq!(number(Tensor { dtype: HALF, half_val: vec![0x3c01], ..base() }), Some(1.0 + 1.0 / 1024.0));
        assert_eq!(number(Tensor { dtype: HALF, half_val: vec![0x8001], ..base() }), Some(-(2f64.powi(-24))));
        assert_eq!(number(Tensor { dtype: BFLOAT16, half_val: vec![0x3f80], ..base() }), Some(1.0));
        assert_eq!(number(Tensor { dtype: FLOAT, float_val: vec![1.0, 2.0], ..base() }), None);
        assert_eq!(number(base()), None);
    }

    #[test]
    fn a_writer_that_begins_says_from_which_step_on_it_discards() {
        let start = |status| Event { step: 7, session_log: Some(SessionLog { status }), ..Event::default() };
        let [begins, stops] = [1, 2].map(|status| record(&start(status).encode_to_vec()));
        let part = of(&[scalar(9, 0.5), stops, begins, scalar(7, 0.25)].concat(), 0);
        let kept: Vec<&Logged> =
            part.logged.iter().filter(|one| !matches!(one, Logged::Heard(_) | Logged::Began(_))).collect();
        assert_eq!(kept.len(), 3);
        assert_eq!(*kept[1], Logged::Restarted { step: 7, keys: Vec::new() });
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..20)
    }

    fn tensor() -> impl Strategy<Value = Tensor> {
        let numbers = (prop::collection::vec(any::<f32>(), 0..3), prop::collection::vec(prop::num::f64::ANY, 0..7));
        let words = (prop::collection::vec(bytes(), 0..5), prop::collection::vec(any::<i32>(), 0..2));
        (0..24, bytes(), numbers, words).prop_map(
            |(dtype, content, (float_val, double_val), (string_val, half_val))| Tensor {
                dtype,
                content,
                float_val,
                double_val,
                string_val,
                half_val,
                ..Tensor::default()
            },
        )
    }

    fn value() -> impl Strategy<Value = SummaryValue> {
        use prop::option::of;
        let limits = || prop::collection::vec(prop::num::f64::ANY, 0..5);
        let histogram = (prop::num::f64::ANY, prop::num::f64::ANY, limits(), limits())
            .prop_map(|(min, max, bucket_limit, bucket)| Histogram { min, max, bucket_limit, bucket });
        let plugin = prop::sample::select(vec!["", "scalars", "images", "text", "histograms", "hparams"]);
        let metadata = (plugin, bytes()).prop_map(|(plugin, content)| {
            Some(Metadata { plugin_data: Some(PluginData { plugin_name: plugin.into(), content }) })
        });
        let encoded = of(bytes().prop_map(|encoded| Image { encoded }));
        let scalar = of(any::<f32>());
        (any::<String>(), scalar, encoded, of(histogram), of(tensor()), metadata).prop_map(
            |(tag, simple_value, image, histogram, tensor, metadata)| SummaryValue {
                tag,
                simple_value,
                image,
                histogram,
                tensor,
                metadata,
            },
        )
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        let values = prop::collection::vec(value(), 0..4);
        let event = (prop::num::f64::ANY, any::<i64>(), values).prop_map(|(wall_time, step, value)| {
            Event { wall_time, step, summary: Some(Summary { value }), session_log: None }.encode_to_vec()
        });
        hostile::changed(event)
    }

    proptest! {
        #[test]
        fn hostile_messages_and_records(
            messages in prop::collection::vec(message(), 0..6),
            tail in hostile::changed(message().prop_map(|message| record(&message))),
        ) {
            let mut bytes: Vec<u8> = messages.iter().flat_map(|message| record(message)).collect();
            let whole = hostile::read_through(&Named::Events, &bytes)?;
            bytes.extend(tail);
            let more = hostile::read_through(&Named::Events, &bytes)?;
            let said = |logged: &[Logged]| logged.iter().filter(|one| !matches!(one, Logged::Heard(_))).count();
            prop_assert!(said(&more) >= said(&whole), "what comes after takes nothing away");
        }
    }

    #[test]
    fn many_images_under_a_long_tag_take_no_room() {
        let tensor = Tensor { string_val: vec![Vec::new(); 1000], ..Tensor::default() };
        let plugin_data = Some(PluginData { plugin_name: "images".into(), content: Vec::new() });
        let tag = "x".repeat(100_000);
        let value = SummaryValue {
            tag,
            tensor: Some(tensor),
            metadata: Some(Metadata { plugin_data }),
            ..SummaryValue::default()
        };
        let event = Event { summary: Some(Summary { value: vec![value] }), ..Event::default() };
        let part = of(&record(&event.encode_to_vec()), 0);
        let is_short = |logged: &&Logged| matches!(logged, Logged::File(name, _) if name.len() <= 300);
        assert_eq!((part.left_out, part.logged.iter().filter(is_short).count(), part.notes.len()), (0, 998, 1));
    }

    #[test]
    fn names_of_files_stay_below_their_folder() {
        assert_eq!(file_name("../../etc/passwd", 3, b"x"), "etc/passwd/3.txt");
        assert_eq!(file_name("a\\..\\C:\\b", 0, b"\x89PNG"), "a/C_/b/0.png");
        assert_eq!(file_name("", -1, b""), "-1.txt");
    }
}
