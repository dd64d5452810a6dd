//! Hostile files: whatever their bytes, each reader comes to an end without a panic and takes little more room than they do.
//! `PROPTEST_CASES=100000` makes a long run of it.

use super::*;
use assay_domain::foreign::Contents;
use proptest::prelude::*;
use proptest::sample::Index;

/// One change to a file.
#[derive(Clone, Debug)]
enum Change {
    Set(Index, u8),
    Cut(Index),
    Remove(Index, usize),
    Repeat(Index, usize),
    Insert(Index, Vec<u8>),
}

impl Change {
    fn to(self, bytes: &mut Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        let range = |at: Index, length: usize| at.index(bytes.len())..(at.index(bytes.len()) + length).min(bytes.len());
        match self {
            Change::Set(at, byte) => {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            Change::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Change::Remove(at, length) => drop(bytes.drain(range(at, length))),
            Change::Repeat(at, length) => {
                let range = range(at, length);
                let piece = bytes[range.clone()].to_vec();
                bytes.splice(range.end..range.end, piece);
            }
            Change::Insert(at, piece) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, piece);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let length = || 0..40usize;
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        any::<Index>().prop_map(Change::Cut),
        (any::<Index>(), length()).prop_map(|(at, length)| Change::Remove(at, length)),
        (any::<Index>(), length()).prop_map(|(at, length)| Change::Repeat(at, length)),
        (any::<Index>(), word()).prop_map(|(at, word)| Change::Insert(at, word.into_bytes())),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 0..20)).prop_map(|(at, piece)| Change::Insert(at, piece)),
    ]
}

/// Words that readers know, or trip over.
fn word() -> impl Strategy<Value = String> {
    let known = [
        "step",
        "_step",
        "epoch",
        "loss",
        "timestamp",
        "_timestamp",
        "_type",
        "histogram",
        "bins",
        "values",
        "NaN",
        "-Infinity",
        "1e999",
        "9223372036854775808",
        "-9223372036854775808",
        "0.1",
        "1e18",
        "null",
        "true",
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\"",
        "\\",
        "\n",
        "\r\n",
        "\u{feff}",
        "\0",
        "../..",
        "&a [*a,*a]",
        "!!binary",
        "---",
        "images",
        "hparams",
        "text",
        "run_id: a",
        "start_time: 1e30",
        "status: 3",
    ];
    prop_oneof![4 => prop::sample::select(known.to_vec()).prop_map(str::to_owned), 1 => any::<String>()]
}

/// Texts of JSON, and what is nearly one.
pub(super) fn json() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        word(),
        prop::num::f64::ANY.prop_map(|number| number.to_string()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<String>().prop_map(|text| serde_json::Value::String(text).to_string()),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        let field = (word(), inner.clone()).prop_map(|(key, value)| format!("{}:{value}", serde_json::json!(key)));
        prop_oneof![
            prop::collection::vec(inner, 0..6).prop_map(|values| format!("[{}]", values.join(","))),
            prop::collection::vec(field, 0..6).prop_map(|fields| format!("{{{}}}", fields.join(","))),
        ]
    })
}

/// Files of lines.
fn lines(line: impl Strategy<Value = String>) -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(line, 0..20).prop_map(|lines| lines.join("\n").into_bytes())
}

/// The file, a few changes later.
pub(super) fn changed(file: impl Strategy<Value = Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    (file, prop::collection::vec(change(), 0..4)).prop_map(|(mut bytes, changes)| {
        changes.into_iter().for_each(|change| change.to(&mut bytes));
        bytes
    })
}

/// About how many bytes of memory take what was logged.
fn room(logged: &[Logged]) -> usize {
    let contents = logged.iter().map(|logged| match logged {
        Logged::Point(key, _) => key.len(),
        Logged::Param(key, value) | Logged::Tag(key, value) => key.len() + value.len(),
        Logged::File(name, Contents::Bytes(bytes)) => name.len() + bytes.len(),
        _ => 0,
    });
    contents.map(|bytes| bytes + 64).sum()
}

/// Reads a file to its end, twice as a follower does, and says what is wrong with the readings.
pub(super) fn read_through(named: &Named, bytes: &[u8]) -> Result<Vec<Logged>, TestCaseError> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("file");
    std::fs::write(&path, bytes).expect("a file");
    let file = LogFile { path, run: String::new(), named: named.clone() };
    let (mut from, mut state, mut logged) = (0, None, Vec::new());
    let options = Options { now: Timestamp(4_000_000_000_000), is_settled: true, ..Options::default() };
    let is_byte =
        !matches!(named, Named::TrainerState | Named::MlflowMeta | Named::MlflowParam(_) | Named::MlflowTag(_));
    let is_key = |logged: &Logged| match logged {
        Logged::Point(key, _) | Logged::Param(key, _) | Logged::Tag(key, _) => key::kept(key) == key.as_str(),
        _ => true,
    };
    loop {
        let mark = Mark { read: from, state };
        let part = read(&file, &mark, &options).map_err(|why| TestCaseError::fail(why.to_string()))?;
        prop_assert!(part.logged.iter().all(is_key), "{:?}", part.logged);
        prop_assert!(!is_byte || (from..=bytes.len() as u64).contains(&part.read), "from {from} to {}", part.read);
        prop_assert!(!part.has_more || part.read > from, "it stands still at {from}");
        let (is_damaged, has_more) = (part.damage.is_some(), part.has_more);
        (from, state, logged) = (part.read, part.state, [logged, part.logged].concat());
        if is_damaged || !has_more {
            break;
        }
    }
    prop_assert!(room(&logged) < 20_000 + 1_500 * bytes.len(), "{} bytes of {}", room(&logged), bytes.len());
    // Nothing was added: nothing comes again.
    let mark = Mark { read: from, state };
    let again = read(&file, &mark, &options).map_err(|why| TestCaseError::fail(why.to_string()))?;
    prop_assert_eq!(again.read, from);
    prop_assert!(!again.logged.iter().any(|logged| !matches!(logged, Logged::Heard(_) | Logged::Began(_))));
    Ok(logged)
}

fn cells() -> impl Strategy<Value = String> {
    prop::collection::vec(prop_oneof![word(), prop::num::f64::ANY.prop_map(|number| number.to_string())], 0..6)
        .prop_map(|cells| cells.join(","))
}

proptest! {
    #[test]
    fn bytes_of_any_kind(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let table = Named::WandbCsv("a".into());
        for named in [Named::Events, Named::Wandb, Named::Csv, table, Named::JsonLines, Named::TrainerState, Named::MlflowMetric("m".into())] {
            read_through(&named, &bytes)?;
        }
    }

    #[test]
    fn json_lines(bytes in changed(lines(json()))) {
        read_through(&Named::JsonLines, &bytes)?;
    }

    #[test]
    fn tables(bytes in changed(lines(cells()))) {
        read_through(&Named::Csv, &bytes)?;
        read_through(&Named::WandbCsv("a".into()), &bytes)?;
    }

    #[test]
    fn tables_of_wide_letters(text in prop::collection::vec(cells(), 0..20), changes in prop::collection::vec(change(), 0..3)) {
        let mut bytes: Vec<u8> = text.join("\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
        bytes.splice(0..0, [0xff, 0xfe]);
        changes.into_iter().for_each(|change| change.to(&mut bytes));
        read_through(&Named::Csv, &bytes)?;
        read_through(&Named::JsonLines, &bytes)?;
    }

    #[test]
    fn states_of_a_trainer(history in prop::collection::vec(json(), 0..6), changes in prop::collection::vec(change(), 0..3)) {
        let mut bytes = format!("{{\"log_history\": [{}]}}", history.join(",")).into_bytes();
        changes.into_iter().for_each(|change| change.to(&mut bytes));
        read_through(&Named::TrainerState, &bytes)?;
    }

    /// Replacing any file by any other is read, with the superseded keys.
    #[test]
    fn files_that_are_written_anew(
        before in changed(lines(cells())),
        after in changed(lines(cells())),
        states in any::<Option<String>>(),
    ) {
        for named in [Named::Csv, Named::JsonLines, Named::Events, Named::Wandb, Named::MlflowMetric("m".into())] {
            let folder = tempfile::tempdir().expect("a folder");
            let file = LogFile { path: folder.path().join("file"), run: String::new(), named };
            let options = Options { now: Timestamp(4_000_000_000_000), is_settled: true, ..Options::default() };
            std::fs::write(&file.path, &before).expect("a file");
            let first = read(&file, &Mark::default(), &options).map_err(|why| TestCaseError::fail(why.to_string()))?;
            std::fs::write(&file.path, &after).expect("a file");
            for state in [first.state.clone(), states.clone(), None] {
                let mark = Mark { read: first.read, state };
                let part = read(&file, &mark, &options).map_err(|why| TestCaseError::fail(why.to_string()))?;
                prop_assert!(!part.has_more || part.read > 0);
            }
        }
    }

    #[test]
    fn points_of_mlflow(bytes in changed(lines((any::<i64>(), prop::num::f64::ANY, any::<i64>()).prop_map(|(at, value, step)| format!("{at} {value} {step}"))))) {
        read_through(&Named::MlflowMetric("m".into()), &bytes)?;
    }

    #[test]
    fn what_mlflow_says_of_runs(bytes in changed(lines((word(), json()).prop_map(|(key, value)| format!("{key}: {value}"))))) {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join("meta.yaml"), &bytes).expect("a file");
        for file in find(folder.path()) {
            let part = read(&file, &Mark::default(), &Options::default()).map_err(|why| TestCaseError::fail(why.to_string()))?;
            prop_assert!(room(&part.logged) < 20_000 + 1_500 * bytes.len());
        }
        read_through(&Named::MlflowTag("a".into()), &bytes)?;
    }
}

#[test]
fn a_long_key_before_many_values_takes_little_room() {
    let key = "k".repeat(100_000);
    let values: Vec<String> = (0..1000).map(|key| format!("\"{key}\":1")).collect();
    let nested = format!("{{\"{key}\":{{{}}}}}", values.join(","));
    let table = format!("step,{key}\n{}", "1,2\n".repeat(1000));
    for (named, text) in [(Named::JsonLines, nested), (Named::Csv, table)] {
        let logged = read_through(&named, text.as_bytes()).expect("it reads");
        assert!((1000..1000 * 500).contains(&room(&logged)), "{named:?}");
    }
}

#[test]
fn a_last_line_that_is_taken_once_is_not_taken_again() {
    let bytes = [128, 10, 0, 0, 13, 14, 44, 128, 44, 58];
    let table = Named::WandbCsv("a".into());
    for named in [Named::Csv, table, Named::JsonLines, Named::MlflowMetric("m".into())] {
        read_through(&named, &bytes).unwrap_or_else(|why| panic!("{named:?}: {why}"));
    }
}
