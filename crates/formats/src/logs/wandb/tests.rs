//! What is read of the files that W&B writes, whole, cut, damaged or hostile.

use super::super::{Named, hostile};
use super::log::tests::file;
use super::log::{BLOCK, RECORD_BYTES};
use super::message::{Git, Sender, Step};
use super::*;
use proptest::prelude::*;

fn item(key: &str, json: &str) -> Item {
    let path: Vec<String> = key.split('.').map(str::to_owned).collect();
    match path.as_slice() {
        [_] => Item { key: key.into(), value_json: json.into(), ..Item::default() },
        _ => Item { nested_key: path, value_json: json.into(), ..Item::default() },
    }
}

fn items(pairs: &[(&str, &str)]) -> Vec<Item> {
    pairs.iter().map(|(key, json)| item(key, json)).collect()
}

fn run() -> Record {
    let time = ProtoTime { seconds: 100, nanos: 500_000_000 };
    let run = Run { run_id: "id".into(), start_time: Some(time), ..Run::default() };
    Record { run: Some(run), ..Record::default() }
}

fn history(step: i64, pairs: &[(&str, &str)]) -> Record {
    let item = items(pairs);
    Record { history: Some(History { item, step: Some(Step { num: step }) }), ..Record::default() }
}

fn config(pairs: &[(&str, &str)]) -> Record {
    Record { config: Some(Items { update: items(pairs) }), ..Record::default() }
}

fn stats(seconds: i64) -> Record {
    let timestamp = Some(ProtoTime { seconds, nanos: 0 });
    Record { stats: Some(Stats { timestamp, item: items(&[("cpu", "1.5")]) }), ..Record::default() }
}

fn of(bytes: &[u8], from: u64) -> Part {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("run-1.wandb");
    std::fs::write(&path, bytes).expect("a file");
    read(&path, from).expect("it reads")
}

fn of_records(records: &[Record]) -> Part {
    let part = of(&file(&records.iter().map(Message::encode_to_vec).collect::<Vec<_>>()), 0);
    assert_eq!(part.damage, None);
    part
}

/// What was logged, without when it was heard of, which each part says for itself.
fn logged(parts: &[&Part]) -> Vec<Logged> {
    let all = parts.iter().flat_map(|part| part.logged.clone());
    all.filter(|logged| !matches!(logged, Logged::Heard(_))).collect()
}

fn point(key: &str, step: i64, wall_ms: i64, value: f64) -> Logged {
    Logged::Point(key.into(), Point { step, wall_ms, value })
}

fn param(key: &str, value: &str) -> Logged {
    Logged::Param(key.into(), value.into())
}

fn tag(key: &str, value: &str) -> Logged {
    Logged::Tag(key.into(), value.into())
}

#[test]
fn a_file_that_is_cut_anywhere_gives_what_is_whole_and_goes_on_from_there() {
    let exit = Record { exit: Some(Exit { exit_code: 0, runtime: 7 }), ..Record::default() };
    let records = [run(), history(1, &[("loss", "0.5"), ("_timestamp", "103.25")]), stats(104), exit];
    let whole = file(&records.map(|record| record.encode_to_vec()));
    let all = of(&whole, 0);
    assert_eq!(all.read, whole.len() as u64);
    assert_eq!(all.logged.last(), Some(&Logged::Heard(Timestamp(104_000))));
    assert!(logged(&[&all]).contains(&point("system/cpu", 3, 104_000, 1.5)));
    assert!(logged(&[&all]).contains(&Logged::Status(RunStatus::Finished, Some(Timestamp(107_500)))));
    for cut in 0..=whole.len() {
        let first = of(&whole[..cut], 0);
        assert_eq!(first.damage, None, "cut at {cut}");
        let rest = of(&whole, first.read);
        assert_eq!(rest.damage, None, "cut at {cut}");
        assert_eq!(logged(&[&first, &rest]), logged(&[&all]), "cut at {cut}");
    }
}

#[test]
fn records_and_gaps_across_blocks_are_read_wherever_the_file_is_cut() {
    let long = "x".repeat(BLOCK as usize * 2);
    for gap in 0..20 {
        // The second record ends this far before the end of a block.
        let head = file(&[run().encode_to_vec()]).len() + HEAD as usize;
        let filler = |length: usize| config(&[("filler", &format!("\"{}\"", "y".repeat(length)))]).encode_to_vec();
        let filler = filler(BLOCK as usize - head - gap - (filler(30_000).len() - 30_000));
        let records = [run().encode_to_vec(), filler, config(&[("long", &format!("\"{long}\""))]).encode_to_vec()];
        let whole = file(&[&records[..], &[history(2, &[("loss", "1")]).encode_to_vec()]].concat());
        let second = file(&records[..2]).len();
        assert_eq!(second, BLOCK as usize - gap);
        let all = of(&whole, 0);
        assert_eq!((all.damage.clone(), all.read), (None, whole.len() as u64));
        assert!(logged(&[&all]).contains(&param("long", &long)));
        assert!(logged(&[&all]).contains(&point("loss", 2, 100_500, 1.0)));
        let mut zeroes = whole[..second].to_vec();
        zeroes.resize(BLOCK as usize, 0);
        zeroes.extend(&file(&[history(2, &[("loss", "1")]).encode_to_vec()])[BEGINNING.len()..]);
        assert!(logged(&[&of(&zeroes, 0)]).contains(&point("loss", 2, 100_500, 1.0)));
        let near = |block: usize| block * BLOCK as usize - 12..block * BLOCK as usize + 12;
        for cut in near(1).chain(near(2)).chain(near(3)).chain([second, whole.len() - 1]) {
            let first = of(&whole[..cut], 0);
            assert_eq!(first.damage, None, "cut at {cut}");
            let rest = of(&whole, first.read);
            assert_eq!(logged(&[&first, &rest]), logged(&[&all]), "gap {gap}, cut at {cut}");
        }
    }
}

#[test]
fn no_flipped_bit_makes_it_panic_or_lose_what_is_before() {
    let records = [run(), history(1, &[("loss", "0.5")]), history(2, &[("loss", "0.25")])];
    let records = records.map(|record| record.encode_to_vec());
    let whole = file(&records);
    let ends: Vec<usize> = (0..=3).map(|count| file(&records[..count]).len()).collect();
    for bit in 0..whole.len() * 8 {
        let mut bytes = whole.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let part = of(&bytes, 0);
        let before = ends.iter().rev().find(|end| **end <= bit / 8).copied().unwrap_or_default();
        assert_eq!(logged(&[&part]), logged(&[&of(&whole[..before], 0)]), "bit {bit}");
        // A length that now leads beyond the end looks as a record that is not whole yet.
        let in_length = ends.iter().any(|end| (end + 4..end + 6).contains(&(bit / 8)));
        assert!(part.damage.is_some() || in_length, "bit {bit}");
        assert_eq!(part.read as usize, before, "bit {bit}");
    }
}

#[test]
fn what_is_no_such_file_and_what_became_shorter_is_damaged() {
    assert!(of(b"something else", 0).damage.is_some());
    assert!(of(b":W&B\xe1\xbe\x01", 0).damage.is_some(), "another version");
    assert_eq!(of(b"", 0), Part::default());
    assert_eq!(of(b":W&B", 0), Part::default());
    let whole = file(&[run().encode_to_vec()]);
    let longer = whole.len() as u64 + 1;
    let why = format!("it was {longer} bytes long and is {} now: it was written anew", whole.len());
    assert_eq!(of(&whole, longer).damage, Some(why));
    let no_message = of(&file(&[run().encode_to_vec(), b"no message\xff".to_vec()]), 0);
    assert_eq!(no_message.damage, Some(format!("it is damaged at byte {}", whole.len())));
    assert_eq!(no_message.read, whole.len() as u64);
    assert!(!no_message.logged.is_empty());
}

#[test]
fn zeroes_to_the_end_of_a_block_are_passed_over_once_a_record_follows() {
    let first = file(&[run().encode_to_vec()]);
    let mut bytes = first.clone();
    bytes.resize(BLOCK as usize, 0);
    for length in [first.len() + 3, first.len() + 8, bytes.len()] {
        let part = of(&bytes[..length], 0);
        assert_eq!((part.damage, part.read), (None, first.len() as u64), "{length} bytes");
    }
    let mut rest = file(&[history(3, &[("loss", "1")]).encode_to_vec()]);
    bytes.extend(rest.drain(BEGINNING.len()..));
    let part = of(&bytes, first.len() as u64);
    assert_eq!(logged(&[&part]), [point("loss", 3, 100_500, 1.0)]);
    bytes[BLOCK as usize - 1] = 1;
    assert!(of(&bytes, 0).damage.is_some());
    let mut endless = first;
    endless.resize(PART_BYTES as usize * 2, 0);
    assert!(of(&endless, 0).damage.is_some());
}

#[test]
fn a_large_file_is_read_in_parts_and_a_record_beyond_measure_is_passed_over() {
    let text = format!("\"{}\"", "x".repeat(1 << 20));
    let records: Vec<_> = (0..20).map(|step| history(step, &[("n", "1"), ("text", &text)]).encode_to_vec()).collect();
    let whole = file(&records);
    let (mut from, mut points, mut left_out) = (0, 0, 0);
    for parts in 1.. {
        let part = of(&whole, from);
        points += logged(&[&part]).len();
        left_out += part.left_out;
        from = part.read;
        if !part.has_more {
            assert_eq!(parts, 3);
            break;
        }
    }
    assert_eq!((points, left_out, from), (20, 20, whole.len() as u64));
    let beyond = file(&[vec![0; RECORD_BYTES + 1], history(1, &[("n", "1")]).encode_to_vec()]);
    let part = of(&beyond, 0);
    assert_eq!((part.has_more, part.left_out, part.damage), (true, 1, None));
    assert_eq!(logged(&[&of(&beyond, part.read)]), [point("n", 1, 0, 1.0)]);
}

#[test]
fn a_run_says_its_name_and_where_it_belongs() {
    let said = Run {
        run_id: "id".into(),
        project: "digits".into(),
        config: Some(Items { update: items(&[("_wandb", "{}"), ("lr", "0.1")]) }),
        run_group: "group".into(),
        job_type: "train".into(),
        display_name: "sunny".into(),
        notes: "a note".into(),
        tags: vec!["a".into(), "b c".into()],
        sweep_id: "sweep".into(),
        host: "machine".into(),
        start_time: Some(ProtoTime { seconds: 5, nanos: 250_000_000 }),
        git: Some(Git { remote_url: "https://example.org/x.git".into(), commit: "c0ffee".into() }),
    };
    let environment = Some(Environment { username: "someone".into() });
    let records = [
        Record { run: Some(said), ..Record::default() },
        Record { environment, ..Record::default() },
        Record { exit: Some(Exit { exit_code: 1, runtime: 2 }), ..Record::default() },
    ];
    let expected = [
        Logged::Name("sunny".into()),
        Logged::Experiment("digits".into()),
        Logged::Note("a note".into()),
        Logged::User("machine".into()),
        Logged::Began(Timestamp(5250)),
        tag("a", ""),
        tag("b c", ""),
        tag("wandb.run_id", "id"),
        tag("wandb.group", "group"),
        tag("wandb.job_type", "train"),
        tag("wandb.sweep_id", "sweep"),
        tag("wandb.git_commit", "c0ffee"),
        tag("wandb.git_remote", "https://example.org/x.git"),
        param("lr", "0.1"),
        Logged::User("someone".into()),
        Logged::Status(RunStatus::Failed, Some(Timestamp(7250))),
        Logged::Heard(Timestamp(5250)),
    ];
    assert_eq!(of_records(&records).logged, expected);
    assert_eq!(of_records(&[run()]).logged[0], Logged::Name("id".into()));
}

#[test]
fn config_is_params_under_dotted_keys() {
    let opt = r#"{"name": "adam", "betas": [0.9, 0.99], "none": null, "empty": {}, "deep": {"on": true}}"#;
    let part = of_records(&[config(&[("opt", opt), ("_wandb.t", "1"), ("inf", "-Infinity"), ("a.b", "3")])]);
    let expected = [
        param("opt.name", "adam"),
        param("opt.betas", "[0.9,0.99]"),
        param("opt.none", "null"),
        param("opt.empty", "{}"),
        param("opt.deep.on", "true"),
        param("inf", "-Infinity"),
        param("a.b", "3"),
    ];
    assert_eq!(part.logged, expected);
}

#[test]
fn numbers_of_the_history_are_points_and_other_values_are_counted() {
    let values = [
        ("_step", "7"),
        ("_timestamp", "1.0005e+01"),
        ("loss", "0.1"),
        ("on", "true"),
        ("val.acc", "1"),
        ("whole", r#"{"a": {"b": Infinity}, "c": -Infinity}"#),
        ("text", r#""some text""#),
        ("none", "null"),
        ("list", "[1, NaN]"),
        ("broken", "{"),
        ("loss.more", "2"),
    ];
    let part = of_records(&[history(3, &values)]);
    let expected = [
        point("loss", 7, 10_005, 0.1),
        point("on", 7, 10_005, 1.0),
        point("val.acc", 7, 10_005, 1.0),
        point("whole.a.b", 7, 10_005, f64::INFINITY),
        point("whole.c", 7, 10_005, f64::NEG_INFINITY),
        point("loss.more", 7, 10_005, 2.0),
    ];
    assert_eq!(logged(&[&part]), expected);
    assert_eq!(part.left_out, 4);
    let nan = of_records(&[history(3, &[("loss", "NaN")])]);
    assert!(matches!(&nan.logged[..], [Logged::Point(_, Point { step: 3, value, .. })] if value.is_nan()));
}

#[test]
fn histograms_are_five_points_and_media_none_whether_whole_or_by_their_values() {
    let whole = [
        ("h", r#"{"_type": "histogram", "bins": [0, 1, 3], "values": [50, 50]}"#),
        ("image", r#"{"_type": "image-file", "path": "media/images/a.png", "width": 4}"#),
    ];
    let apart = [
        ("h.bins", "[0,1,3]"),
        ("image.width", "4"),
        ("h._type", r#""histogram""#),
        ("h.values", "[50,50]"),
        ("image._type", r#""image-file""#),
    ];
    let names = ["h/min", "h/p16", "h/p50", "h/p84", "h/max"].into_iter().zip([0.0, 0.32, 1.0, 2.36, 3.0]);
    let expected: Vec<_> = names.map(|(name, value)| point(name, 1, 0, value)).collect();
    for part in [of_records(&[history(1, &whole)]), of_records(&[history(1, &apart)])] {
        assert_eq!((part.logged, part.left_out), (expected.clone(), 0));
    }
    let odd = r#"{"_type": "histogram", "bins": [0, 1], "values": [50, 50]}"#;
    assert_eq!(of_records(&[history(1, &[("h", odd)])]).left_out, 1);
}

#[test]
fn only_what_the_program_wrote_of_the_summary_is_a_tag() {
    let values = [("best", "0.9"), ("word", r#""good""#), ("nested", r#"{"x": {"y": 2}}"#), ("_runtime", "3")];
    let summary = Some(Items { update: items(&values) });
    let derived = Record { summary, ..Record::default() };
    let written = Record { sender: Some(Sender { stream_id: "id".into() }), ..derived.clone() };
    assert_eq!(of_records(&[derived]).logged, []);
    let expected = [tag("summary.best", "0.9"), tag("summary.word", "good"), tag("summary.nested.x.y", "2")];
    assert_eq!(of_records(&[written]).logged, expected);
}

fn any_items() -> impl Strategy<Value = Vec<Item>> {
    let item = (any::<String>(), prop::collection::vec("[a-c._]{0,8}", 0..4), hostile::json());
    let item = item.prop_map(|(key, nested_key, value_json)| Item { key, nested_key, value_json });
    prop::collection::vec(item, 0..5)
}

fn any_record() -> impl Strategy<Value = Vec<u8>> {
    use prop::option::of;
    let items = || of(any_items().prop_map(|update| Items { update }));
    let time = || {
        let time = (any::<i64>(), any::<i32>()).prop_map(|(seconds, nanos)| ProtoTime { seconds, nanos });
        of(time)
    };
    let history =
        (any_items(), of(any::<i64>())).prop_map(|(item, step)| History { item, step: step.map(|num| Step { num }) });
    let stats = (time(), any_items()).prop_map(|(timestamp, item)| Stats { timestamp, item });
    let run = (any::<String>(), time(), items()).prop_map(|(run_id, start_time, config)| Run {
        run_id,
        start_time,
        config,
        ..Run::default()
    });
    let exit = (any::<i32>(), any::<i32>()).prop_map(|(exit_code, runtime)| Exit { exit_code, runtime });
    let record = (of(history), items(), items(), of(stats), of(run), of(exit), any::<String>());
    let record = record.prop_map(|(history, summary, config, stats, run, exit, stream_id)| {
        let sender = Some(Sender { stream_id });
        Record { history, summary, config, stats, run, exit, sender, ..Record::default() }.encode_to_vec()
    });
    hostile::changed(record)
}

proptest! {
    #[test]
    fn hostile_records_and_files(
        records in prop::collection::vec(any_record(), 0..4),
        whole in hostile::changed(prop::collection::vec(any_record(), 0..4).prop_map(|records| file(&records))),
    ) {
        hostile::read_through(&Named::Wandb, &file(&records))?;
        hostile::read_through(&Named::Wandb, &whole)?;
    }
}

#[test]
fn keys_as_deep_or_as_long_as_they_may_be_take_no_more_room() {
    /// The number of points, all of short keys.
    fn room(part: &Part) -> usize {
        let is_short = |logged: &&Logged| matches!(logged, Logged::Point(key, _) if key.chars().count() <= 260);
        part.logged.iter().filter(is_short).count()
    }
    let path = vec!["k".to_owned(); 100_000];
    let deep = Item { nested_key: path.clone(), value_json: "1".into(), ..Item::default() };
    let part = of_records(&[Record { history: Some(History { item: vec![deep], step: None }), ..Record::default() }]);
    assert_eq!((room(&part), part.left_out), (1, 0));
    let inner: Vec<_> = (0..1000).map(|key| format!("\"{key}\":1")).collect();
    let long = format!("{{\"{}\":{{{}}}}}", "x".repeat(1 << 20), inner.join(","));
    let part = of_records(&[history(1, &[("a", &long)])]);
    assert_eq!((room(&part), part.left_out), (1000, 0));
    assert_eq!(of_records(&[history(1, &[("a", &"[".repeat(100_000))])]).left_out, 1);
}
