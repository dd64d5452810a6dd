use super::*;
use assay_domain::foreign::Logged;

const CSV: Format<'_> = Format::Csv { of_run: None };

/// A table read incrementally.
struct Table {
    folder: tempfile::TempDir,
    name: &'static str,
    mark: Mark,
    options: Options,
}

impl Table {
    fn new(name: &'static str) -> Table {
        let options = Options { now: Timestamp(1_800_000_000_000), ..Options::default() };
        Table { folder: tempfile::tempdir().expect("a folder"), name, mark: Mark::default(), options }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join(self.name)
    }

    /// Replaces the file, as a restarted program does.
    fn put(&self, text: impl AsRef<[u8]>) {
        let _ = std::fs::remove_file(self.path());
        std::fs::write(self.path(), text).expect("a file");
    }

    /// Adds lines, as a training that goes on does.
    fn append(&self, text: &str) {
        let mut file = std::fs::OpenOptions::new().append(true).open(self.path()).expect("it opens");
        std::io::Write::write_all(&mut file, text.as_bytes()).expect("it takes more");
    }

    fn read_as(&mut self, format: Format<'_>) -> Part {
        let part = read(&self.path(), format, &self.mark, &self.options).expect("it reads");
        self.mark = Mark { read: part.read, state: part.state.clone().or(self.mark.state.take()) };
        part
    }

    fn read(&mut self) -> Part {
        let format = if self.name.ends_with(".csv") { CSV } else { Format::Json };
        self.read_as(format)
    }
}

fn points(part: &Part) -> Vec<(&str, i64, f64)> {
    let points = part.logged.iter().filter_map(|logged| match logged {
        Logged::Point(key, point) => Some((key.as_str(), point.step, point.value)),
        _ => None,
    });
    points.collect()
}

fn of(part: &Part, key: &str) -> Vec<(i64, f64)> {
    points(part).into_iter().filter(|(own, ..)| *own == key).map(|(_, step, value)| (step, value)).collect()
}

fn restarted(part: &Part) -> Option<(i64, Vec<String>)> {
    part.logged.iter().find_map(|logged| match logged {
        Logged::Restarted { step, keys } => Some((*step, keys.clone())),
        _ => None,
    })
}

#[test]
fn lines_that_were_read_are_not_read_again_when_a_column_is_added() {
    let mut table = Table::new("metrics.csv");
    table.put("epoch,step,loss\n0,10,0.5\n0,20,\n1,30,0.2");
    assert_eq!(points(&table.read()), [("epoch", 10, 0.0), ("loss", 10, 0.5), ("epoch", 20, 0.0)]);
    // A column inserted first, and other spellings of the numbers.
    table.put("acc,epoch,loss,step\n,0.0,0.5,10\n,0.0,,20\nhigh,1,0.25,30\n");
    let rest = table.read();
    assert_eq!((points(&rest), rest.left_out), (vec![("epoch", 30, 1.0), ("loss", 30, 0.25)], 1));
    assert_eq!((restarted(&rest), rest.left_out_of.get("acc")), (None, Some(&1)));
    table.options.is_settled = true;
    assert_eq!(points(&table.read()), []);
}

#[test]
fn a_table_that_a_restarted_training_writes_is_read_from_its_first_line() {
    let rows = |steps: std::ops::Range<u32>, form: fn(u32) -> String| steps.map(form).collect::<String>();
    let csv = |step: u32| format!("{step},{}\n", f64::from(step) / 2.0);
    let json = |step: u32| format!("{{\"step\": {step}, \"loss\": {}}}\n", f64::from(step) / 2.0);
    for (name, head, form) in [("a.csv", "step,loss\n", csv as fn(u32) -> String), ("a.jsonl", "", json)] {
        // Longer, as long, shorter, one line, and as from the start.
        for (before, after) in
            [(1..11, 11..26), (1..11, 12..22), (1..11, 11..13), (1..2, 5..6), (1..11, 0..30), (1..3, 7..900)]
        {
            let mut table = Table::new(name);
            table.put(format!("{head}{}", rows(before.clone(), form)));
            assert_eq!(points(&table.read()).len(), before.len(), "{name} {before:?}");
            table.put(format!("{head}{}", rows(after.clone(), form)));
            let part = table.read();
            assert_eq!(points(&part).len(), after.len(), "{name} {before:?} {after:?}");
            assert_eq!(restarted(&part), Some((i64::from(after.start), vec!["loss".into()])));
            assert!(part.notes.iter().any(|note| note.contains("was written anew")), "{:?}", part.notes);
            let mut file = std::fs::OpenOptions::new().append(true).open(table.path()).expect("it opens");
            std::io::Write::write_all(&mut file, form(after.end).as_bytes()).expect("it takes more");
            let more = table.read();
            assert_eq!((points(&more).len(), restarted(&more)), (1, None));
        }
    }
}

#[test]
fn one_that_was_emptied_stands_until_something_is_in_it() {
    let mut table = Table::new("a.jsonl");
    table.put("{\"step\": 1, \"loss\": 1}\n");
    table.read();
    for text in ["", "{\"st", "\n"] {
        table.put(text);
        let part = table.read();
        assert_eq!((points(&part).len(), part.notes.len()), (0, 0));
    }
    table.put("{\"step\": 5, \"loss\": 2}\n");
    assert_eq!(points(&table.read()), [("loss", 5, 2.0)]);
}

#[test]
fn an_epoch_that_turns_out_to_be_a_fraction_is_no_step_any_more() {
    let mut table = Table::new("log.jsonl");
    table.put("{\"epoch\": 1.0, \"loss\": 3}\n");
    assert_eq!(of(&table.read(), "loss"), [(1, 3.0)]);
    table.put("{\"epoch\": 1.0, \"loss\": 3}\n{\"epoch\": 1.5, \"loss\": 2}\n");
    let part = table.read();
    assert_eq!((of(&part, "loss"), of(&part, "epoch")), (vec![(0, 3.0), (1, 2.0)], vec![(0, 1.0), (1, 1.5)]));
    assert_eq!(restarted(&part), Some((0, vec!["epoch".into(), "loss".into()])));
    // A step column that appears late is used.
    table.put("{\"epoch\": 1.0, \"loss\": 3}\n{\"epoch\": 1.5, \"loss\": 2}\n{\"global_step\": 70, \"loss\": 1}\n");
    let part = table.read();
    assert_eq!(of(&part, "loss").last(), Some(&(70, 1.0)));
    assert!(restarted(&part).is_some());
    assert!(
        part.logged.iter().any(|one| matches!(one, Logged::Line(line) if line.contains("steps of \"global_step\"")))
    );
}

#[test]
fn what_someone_chose_is_taken_and_a_column_that_is_not_there_is_told() {
    let mut table = Table::new("a.csv");
    table.put("step,seen,at,loss\n1,640,1600000000,0.5\n2,1280,1600000060,0.4\n");
    assert_eq!(of(&table.read(), "loss"), [(1, 0.5), (2, 0.4)]);
    table.options.step = Some("Seen".into());
    table.options.time = Some("at".into());
    let part = table.read();
    assert_eq!(of(&part, "loss"), [(640, 0.5), (1280, 0.4)]);
    assert!(
        part.logged
            .contains(&Logged::Point("loss".into(), Point { step: 640, wall_ms: 1_600_000_000_000, value: 0.5 }))
    );
    assert_eq!(restarted(&part).map(|(step, _)| step), Some(640));
    table.options.step = Some("nosuch".into());
    let damage = table.read().damage.expect("it is told");
    assert!(damage.contains("no column \"nosuch\"") && damage.contains("loss"), "{damage}");
}

#[test]
fn fields_beyond_the_header_are_counted_and_a_header_that_comes_again_is_one() {
    let mut table = Table::new("a.csv");
    table.put("step,loss\n1,1.0\n2,0.9\nstep,loss,val_loss\n3,0.8,1.8\n4,0.7,1.7\n");
    let part = table.read();
    assert_eq!((of(&part, "loss").len(), of(&part, "val_loss")), (4, vec![(3, 1.8), (4, 1.7)]));
    assert_eq!(part.left_out, 0);
    let mut bare = Table::new("a.csv");
    bare.put("step,loss\n1,1.0\n2,0.9,7,8\n3,0.8,9\n");
    let part = bare.read();
    assert_eq!((of(&part, "loss").len(), part.left_out, part.left_out_of["(beyond the header)"]), (3, 3, 3));
    // A byte order mark within the file, as after concatenation, is dropped wherever reading begins.
    let mut joined = Table::new("a.csv");
    joined.put("step,loss\n1,1.0\n\u{feff}step,loss\n2,0.9\n\u{feff}3,0.8\n");
    let part = joined.read();
    assert_eq!((of(&part, "loss"), part.left_out), (vec![(1, 1.0), (2, 0.9), (3, 0.8)], 0));
    // A repeated header is also recognised when read later.
    let mut followed = Table::new("a.csv");
    followed.put("step,loss\n1,1.0\n");
    followed.read();
    let mut file = std::fs::OpenOptions::new().append(true).open(followed.path()).expect("it opens");
    std::io::Write::write_all(&mut file, b"step,acc\n2,0.5\n").expect("it takes more");
    assert_eq!(points(&followed.read()), [("acc", 2, 0.5)]);
}

#[test]
fn marks_and_wide_letters_and_other_separators_are_read() {
    let wide = |text: &str, number: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(number).collect::<Vec<u8>>();
    let json = "\u{feff}{\"step\": 1, \"loss\": 1}\n{\"step\": 2, \"loss\": 1}\n";
    let csv = "\u{feff}step,größe\r\n1,0.5\r\n2,0.25\r\n";
    for (name, text, key) in [("a.jsonl", json, "loss"), ("a.csv", csv, "größe")] {
        for bytes in [text.as_bytes().to_vec(), wide(text, u16::to_le_bytes), wide(text, u16::to_be_bytes)] {
            let mut table = Table::new(name);
            table.put(bytes);
            assert_eq!(of(&table.read(), key).iter().map(|(step, _)| *step).collect::<Vec<_>>(), [1, 2]);
        }
    }
    for text in
        ["step;loss\n1;0,5\n2;0,25\n", "step\tloss\n1\t0.5\n2\t0.25\n", "\"step\",\"loss\"\n\"1\",\"0.5\"\n2,0.25\n"]
    {
        let mut table = Table::new("a.csv");
        table.put(text);
        assert_eq!(of(&table.read(), "loss"), [(1, 0.5), (2, 0.25)], "{text}");
    }
}

#[test]
fn whole_steps_keep_every_digit() {
    for (name, text) in [
        ("a.csv", "step,loss\n9007199254740993,0.5\n9223372036854775807,0.5\n"),
        ("a.jsonl", "{\"step\": 9007199254740993, \"loss\": 0.5}\n{\"step\": 9223372036854775807, \"loss\": 0.5}\n"),
    ] {
        let mut table = Table::new(name);
        table.put(text);
        assert_eq!(of(&table.read(), "loss"), [(9_007_199_254_740_993, 0.5), (i64::MAX, 0.5)]);
    }
}

#[test]
fn columns_without_a_name_get_one_and_equal_names_are_told_apart() {
    let mut table = Table::new("a.csv");
    table.put(",step,loss,loss\n0,1,0.5,0.6\n1,2,0.4,0.5\n");
    assert_eq!(points(&table.read())[..3], [("Unnamed: 0", 1, 0.0), ("loss", 1, 0.5), ("loss.1", 1, 0.6)]);
}

#[test]
fn json_lines_may_be_nested_and_the_last_one_waits_for_its_end() {
    let mut table = Table::new("log.jsonl");
    let text =
        "{\"step\": 3, \"timestamp\": 1600000000, \"val\": {\"acc\": 0.5}, \"note\": \"x\"}\nnonsense\n{\"loss\": NaN}";
    table.put(text);
    let first = table.read();
    assert_eq!((points(&first), first.left_out), (vec![("val.acc", 3, 0.5)], 2));
    let point = Point { step: 3, wall_ms: 1_600_000_000_000, value: 0.5 };
    assert!(first.logged.contains(&Logged::Point("val.acc".into(), point)));
    table.options.is_settled = true;
    let rest = table.read();
    let [(key, step, value)] = points(&rest)[..] else { panic!("one point") };
    // A line without a step takes the last one.
    assert!(key == "loss" && step == 3 && value.is_nan());
    assert_eq!(rest.read, text.len() as u64);
}

#[test]
fn times_are_numbers_or_iso_8601_and_seconds_since_the_beginning_are_a_metric() {
    let times = ["1700000000.25", "1700000000250", "2023-11-14T22:13:20.25Z", "2023-11-14 23:13:20.250000+01:00"];
    let walls = |part: &Part| -> Vec<i64> {
        let wall = |logged: &Logged| if let Logged::Point(_, point) = logged { Some(point.wall_ms) } else { None };
        part.logged.iter().filter_map(wall).collect()
    };
    let mut csv = Table::new("metrics.csv");
    let lines: String = times.iter().map(|time| format!("1,{time},0.5\n")).collect();
    csv.put(format!("step,time,loss\n{lines}1,soon,0.5\n"));
    let read = csv.read();
    assert_eq!((&walls(&read)[..4], read.left_out), (&[1_700_000_000_250; 4][..], 1));
    let mut json = Table::new("a.jsonl");
    let line = |time: &&str| format!("{{\"time\": \"{time}\", \"loss\": 1, \"created_at\": \"2020-01-01T00:00Z\"}}\n");
    json.put(times[2..].iter().map(line).collect::<String>());
    assert_eq!(walls(&json.read()), [1_700_000_000_250; 2]);
    let mut elapsed = Table::new("results.csv");
    elapsed.put("            epoch,      time,  train/box_loss\n 1, 2.5, 0.5\n 2, 5.1, 0.4\n");
    let read = elapsed.read();
    assert_eq!((of(&read, "time"), of(&read, "train/box_loss")), (vec![(1, 2.5), (2, 5.1)], vec![(1, 0.5), (2, 0.4)]));
}

#[test]
fn what_tensorboard_and_wandb_offer_for_download_is_the_metric_and_the_runs_that_it_is_of() {
    let mut one = Table::new("run-digits_train-tag-epoch_loss.csv");
    one.put("Wall time,Step,Value\n1600000000.5,0,0.75\n1600000001.5,10,0.5\n");
    let part = one.read();
    assert_eq!(of(&part, "epoch_loss"), [(0, 0.75), (10, 0.5)]);
    assert!(part.logged.contains(&Logged::Name("digits_train".into())));
    let mut several = Table::new("wandb_export.csv");
    let header = r#""Step","a-run-1 - train/loss","a-run-1 - train/loss__MIN","b - train/loss","b - _step""#;
    several.put(format!("{header}\n\"0\",\"0.5\",\"0.4\",\"0.9\",\"0\"\n\"10\",\"0.25\",\"0.2\",\"\",\"\"\n"));
    let part = several.read_as(Format::Csv { of_run: Some("a-run-1") });
    assert_eq!(of(&part, "train/loss"), [(0, 0.5), (10, 0.25)]);
    assert_eq!(of(&part, "train/loss__MIN"), [(0, 0.4), (10, 0.2)]);
    assert!(part.logged.contains(&Logged::Name("a-run-1".into())));
    several.mark = Mark::default();
    let part = several.read_as(Format::Csv { of_run: Some("b") });
    assert_eq!((points(&part), part.left_out), (vec![("train/loss", 0, 0.9)], 0));
}

#[test]
fn a_table_that_was_read_in_part_by_an_older_version_is_read_on() {
    for (name, text, read) in [
        ("a.csv", "step,loss\n1,1\n2,2\n3,3\n", 2),
        ("a.jsonl", "{\"step\": 1, \"loss\": 1}\n{\"step\": 2, \"loss\": 2}\n{\"step\": 3, \"loss\": 3}\n", 48),
    ] {
        let mut table = Table::new(name);
        table.put(text);
        table.mark.read = read;
        let part = table.read();
        assert_eq!((points(&part), restarted(&part)), (vec![("loss", 3, 3.0)], None), "{name}");
        assert_eq!(points(&table.read()), []);
    }
}

#[test]
fn a_csv_written_anew_with_the_same_first_lines_is_another_file() {
    let rows = |count: usize, changed: usize, columns: &str| -> String {
        let value = |row: usize| if row < changed { 1 } else { 7 };
        let lines =
            (0..count).map(|row| format!("{row},{}{}\n", value(row), if columns.is_empty() { "" } else { ",0" }));
        format!("step,loss{columns}\n{}", lines.collect::<String>())
    };
    for (count, columns) in [(250, ""), (200, ""), (250, ",acc")] {
        let mut table = Table::new("metrics.csv");
        table.put(rows(200, 200, ""));
        assert_eq!(table.read().left_out, 0);
        table.put(rows(count, 100, columns));
        let part = table.read();
        assert_eq!(of(&part, "loss").len(), count, "{columns}");
        assert_eq!(restarted(&part), Some((0, vec!["loss".into()])));
    }
    let mut wider = Table::new("metrics.csv");
    wider.put(rows(200, 200, ""));
    wider.read();
    wider.put(rows(202, 200, ",acc"));
    let part = wider.read();
    assert_eq!((of(&part, "loss"), restarted(&part)), (vec![(200, 7.0), (201, 7.0)], None));
    wider.put(rows(203, 200, ",acc,f1").replace(",0\n", ",0,0\n"));
    let part = wider.read();
    assert_eq!((of(&part, "f1"), restarted(&part)), (vec![(202, 0.0)], None));
}

#[test]
fn a_counter_within_epochs_is_noticed_when_the_next_epoch_begins() {
    let mut table = Table::new("metrics.csv");
    table.put("epoch,batch,loss\n0,0,1\n0,1,0.9\n0,2,0.8\n");
    assert_eq!(of(&table.read(), "loss"), [(0, 1.0), (1, 0.9), (2, 0.8)]);
    table.append("1,0,0.7\n1,1,0.6\n");
    let part = table.read();
    assert_eq!(of(&part, "loss").iter().map(|(step, _)| *step).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
    assert_eq!(restarted(&part), Some((0, vec!["epoch".into(), "loss".into()])));
    table.append("2,0,0.5\n");
    let part = table.read();
    assert_eq!((of(&part, "loss"), restarted(&part)), (vec![(5, 0.5)], None));
}

#[test]
fn a_step_that_falls_to_the_first_one_supersedes_what_was_after_it() {
    for header in ["", "epoch,loss\n"] {
        let mut table = Table::new("results.csv");
        table.put("epoch,loss\n1,9\n2,8\n3,7\n");
        assert_eq!(restarted(&table.read()), None);
        table.append(&format!("{header}1,0.3\n2,0.2\n"));
        let part = table.read();
        assert_eq!(restarted(&part), Some((1, vec!["epoch".into(), "loss".into()])));
        assert_eq!((of(&part, "loss"), part.notes.len()), (vec![(1, 0.3), (2, 0.2)], 1));
        assert!(matches!(part.logged[0], Logged::Restarted { .. }), "before its points");
        table.append("3,0.1\n");
        assert_eq!(restarted(&table.read()), None);
    }
    let mut resumed = Table::new("metrics.csv");
    resumed.put("step,loss\n1,.5\n2,.4\n3,.3\nstep,loss\n2,.35\n3,.25\n");
    assert_eq!(restarted(&resumed.read()), Some((2, vec!["loss".into()])));
    let mut lines = Table::new("metrics.jsonl");
    lines.put([1, 2, 3, 1, 2].map(|step| format!("{{\"step\": {step}, \"loss\": 1}}\n")).concat());
    assert_eq!(restarted(&lines.read()), Some((1, vec!["loss".into()])));
}

#[test]
fn lines_that_come_late_are_no_restart() {
    for text in [
        // Workers that overtake each other.
        "step,loss\n2,1\n1,1\n3,1\n4,1\n3,1\n5,1\n",
        // Several lines of a step, and a validation of an earlier one.
        "step,loss,val\n1,1,\n1,1,\n2,1,\n2,1,\n1,,5\n3,1,\n2,,4\n",
        // A header that is repeated by a training that goes on.
        "step,loss\n1,1\n2,1\nstep,loss\n3,1\n",
        "step,loss\n1,1\n2,1\nstep,acc\n2,1\n",
    ] {
        let mut table = Table::new("metrics.csv");
        table.put(text);
        let part = table.read();
        assert_eq!((restarted(&part), of(&part, "loss").is_empty()), (None, false), "{text}");
    }
    let mut asked = Table::new("metrics.csv");
    asked.options.step = Some("batch".into());
    asked.put("epoch,batch,loss\n0,0,1\n0,1,1\n1,0,1\n1,1,1\n");
    assert_eq!(restarted(&asked.read()), None, "it counts within an epoch");
}

#[test]
fn quotes_within_a_field_stop_no_line_and_an_open_one_costs_its_field_only() {
    let mut table = Table::new("a.csv");
    table.put("step,loss,note\n1,.5,a\n2,.4,5\" disk\n3,.3,b\n");
    assert_eq!(of(&table.read(), "loss"), [(1, 0.5), (2, 0.4), (3, 0.3)]);
    table.append("4,.2,\"two\nlines\"\n");
    assert_eq!(of(&table.read(), "loss"), [(4, 0.2)]);
    table.append("5,.1,\"open\n6,.2,c\n7,.3,d\n");
    assert_eq!(of(&table.read(), "loss"), [], "it may end later");
    table.options.is_settled = true;
    let part = table.read();
    assert_eq!(of(&part, "loss"), [(5, 0.1), (6, 0.2), (7, 0.3)]);
    assert_eq!(part.left_out_of.get("(a quoted field without an end)"), Some(&1));
    assert_eq!(points(&table.read()), []);
}

#[test]
fn an_emptied_csv_that_goes_on_without_its_header_keeps_it() {
    let mut table = Table::new("metrics.csv");
    table.put("step,loss\n1,1\n2,1\n");
    table.read();
    table.put("");
    assert_eq!(points(&table.read()), []);
    table.put("3,0.5\n4,0.25\n");
    let part = table.read();
    assert_eq!((of(&part, "loss"), part.left_out), (vec![(3, 0.5), (4, 0.25)], 0));
    table.append("5,0.1\n");
    assert_eq!(of(&table.read(), "loss"), [(5, 0.1)]);
}

#[test]
fn a_repeated_header_with_an_empty_name_is_no_line() {
    let mut table = Table::new("a.csv");
    table.put(",step,loss\n0,1,0.5\n,step,loss\n0,2,0.25\n");
    let part = table.read();
    assert_eq!((of(&part, "loss"), part.left_out), (vec![(1, 0.5), (2, 0.25)], 0));
    let mut table = Table::new("a.csv");
    table.put("step,0.1,0.5\n1,7,8\nstep,0.1,0.5\n2,9,10\n");
    assert_eq!(of(&table.read(), "0.5"), [(1, 8.0), (2, 10.0)]);
}

#[test]
fn json_numbers_that_json_lacks_and_texts_of_numbers_are_taken() {
    let mut table = Table::new("a.jsonl");
    let big = "9".repeat(400);
    table.put(format!(
        "{{\"step\": 1, \"loss\": 0.5}}\n\u{feff}{{\"step\": 2, \"loss\": 0.4, \"big\": 1e400}}\n\
         {{\"step\": 3, \"loss\": 0.3, \"big\": -{big}}}\n{{\"step\": 4, \"loss\": -inf}}\n\
         {{\"step\": \"5\", \"loss\": \"0.25\"}}\n{{\"step\": 6, \"loss\": nan}}\n"
    ));
    let part = table.read();
    let losses = of(&part, "loss");
    assert_eq!(losses[..5], [(1, 0.5), (2, 0.4), (3, 0.3), (4, f64::NEG_INFINITY), (5, 0.25)]);
    assert!(losses[5].0 == 6 && losses[5].1.is_nan());
    assert_eq!(of(&part, "big"), [(2, f64::INFINITY), (3, f64::NEG_INFINITY)]);
    assert_eq!(part.left_out, 0);
}

#[test]
fn columns_that_do_not_fit_what_was_asked_of_them_are_told() {
    let mut table = Table::new("a.csv");
    table.put("epoch,it,sec,loss\n0.5,1,10,1\n1.0,2,20,0.5\n");
    table.options.step = Some("epoch".into());
    table.options.time = Some("sec".into());
    let part = table.read();
    for text in ["\"epoch\" has fractions", "\"sec\" has no times", "times of the file"] {
        assert!(part.notes.iter().any(|note| note.contains(text)), "{text}: {:?}", part.notes);
    }
    assert_eq!(of(&part, "sec").len(), 2);
}

#[test]
fn a_stored_state_that_cannot_be_parsed_supersedes_what_is_read_anew() {
    let mut table = Table::new("a.csv");
    table.put("step,loss\n1,1\n2,2\n");
    table.mark = Mark { read: 10, state: Some("{".into()) };
    let part = table.read();
    assert_eq!((of(&part, "loss").len(), restarted(&part)), (2, Some((1, vec!["loss".into()]))));
    assert!(part.notes.iter().any(|note| note.contains("cannot be read")), "{:?}", part.notes);
}

#[test]
fn a_table_that_cannot_be_read_is_no_other_one() {
    let mut table = Table::new("a.csv");
    table.put("step,loss\n1,1\n");
    table.read();
    std::fs::remove_file(table.path()).expect("it goes");
    assert!(read(&table.path(), CSV, &table.mark, &table.options).is_err());
}

#[test]
fn a_download_of_the_root_run_has_a_metric_and_no_name() {
    let mut one = Table::new("run-.-tag-train_loss.csv");
    one.put("Wall time,Step,Value\n1600000000.5,0,0.75\n");
    let part = one.read();
    assert_eq!(of(&part, "train_loss"), [(0, 0.75)]);
    assert!(!part.logged.iter().any(|logged| matches!(logged, Logged::Name(_))));
}
