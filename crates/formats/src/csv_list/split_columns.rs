//! Finds the columns that assign splits: of words such as `train`, and of flags such as `is_valid`.

use super::columns::{SplitOf, flag};
use super::enumerated;
use super::text::{Table, field};
use crate::splits;
use assay_domain::{Split, counted};
use std::collections::{BTreeSet, HashMap};

/// Columns of words; in lower case without separators.
const NAMES: [&str; 6] = ["split", "subset", "partition", "datasplit", "splitname", "traintestsplit"];
/// The same if any value is a word of splits.
const PERHAPS: [&str; 8] = ["set", "phase", "usage", "fold", "kfold", "stage", "dataset", "group"];
/// Columns of flags, and the split of the rows that they mark.
const FLAGS: [(&str, Split); 9] = [
    ("isvalid", Split::Val),
    ("isval", Split::Val),
    ("isvalidation", Split::Val),
    ("isdev", Split::Val),
    ("istest", Split::Test),
    ("isholdout", Split::Test),
    ("istrain", Split::Train),
    ("istraining", Split::Train),
    ("istrainingimage", Split::Train),
];
/// The same if all values are flags and nothing speaks for classes.
const PERHAPS_FLAGS: [(&str, Split); 7] = [
    ("train", Split::Train),
    ("training", Split::Train),
    ("val", Split::Val),
    ("valid", Split::Val),
    ("validation", Split::Val),
    ("test", Split::Test),
    ("holdout", Split::Test),
];

/// The columns that assign splits, the first that says something counts.
pub(super) struct SplitColumns {
    columns: Vec<Column>,
}

enum Column {
    /// Words with their meanings.
    Words(usize, HashMap<String, Split>),
    Flags(Vec<Flag>),
}

struct Flag {
    place: usize,
    header: String,
    /// The split of the rows that it marks.
    split: Split,
}

/// Which columns are taken for something else.
#[derive(Clone, Copy)]
pub(super) struct Taken {
    pub(super) path: usize,
    /// One that is named like classes.
    pub(super) label: Option<usize>,
}

impl SplitColumns {
    /// Chooses among the columns; `headers` are normalised.
    pub(super) fn choose(table: &Table, headers: &[String], taken: Taken, notes: &mut Vec<String>) -> SplitColumns {
        let is_free = |place: &usize| *place != taken.path && Some(*place) != taken.label;
        let named = |name: &str| (0..headers.len()).filter(is_free).find(|place| headers[*place] == name);
        let words = |place: usize| table.column(place).filter(|word| !word.is_empty());
        let meanings = |place: usize| splits::meanings(words(place));
        let mut columns: Vec<Column> =
            NAMES.iter().filter_map(|name| named(name)).map(|place| Column::Words(place, meanings(place))).collect();
        let flags = flags(table, named, Evidence { has_words: !columns.is_empty(), has_label: taken.label.is_some() });
        if flags.iter().any(|flag| PERHAPS_FLAGS.iter().any(|(name, _)| headers[flag.place] == *name)) {
            let names: Vec<&str> = flags.iter().map(|flag| flag.header.as_str()).collect();
            notes.push(format!("{} {} taken for the splits", enumerated(&names), were(names.len())));
        }
        columns.extend((!flags.is_empty()).then_some(Column::Flags(flags)));
        let mut unclear = Vec::new();
        for place in PERHAPS.iter().filter_map(|name| named(name)) {
            let meanings = meanings(place);
            let has_words = meanings.keys().any(|word| word.parse::<f64>().is_err());
            if has_words && (columns.is_empty() || words(place).all(|word| meanings.contains_key(word))) {
                columns.push(Column::Words(place, meanings));
            } else {
                unclear.push(place);
            }
        }
        let known: BTreeSet<usize> = columns.iter().flat_map(Column::places).chain(unclear.iter().copied()).collect();
        for place in (0..headers.len()).filter(|place| is_free(place) && !known.contains(place)) {
            // Numbers are no evidence without a name.
            if words(place).next().is_none() || !words(place).all(|word| splits::split_of(word).is_some()) {
                continue;
            }
            let meanings = meanings(place);
            if words(place).all(|word| meanings.contains_key(word)) {
                notes.push(format!("{} was taken for the splits", table.headers[place]));
                columns.push(Column::Words(place, meanings));
            }
        }
        if columns.is_empty() {
            notes.extend(unclear.into_iter().map(|place| {
                let some: BTreeSet<&str> = words(place).take(super::columns::LOOKED_AT).collect();
                let some: Vec<&str> = some.into_iter().take(3).collect();
                let (header, some) = (&table.headers[place], some.join(", "));
                format!("the column {header} ({some}) was not taken for splits, which are drawn")
            }));
        }
        let chosen = SplitColumns { columns };
        notes.extend(chosen.without_split(table, taken.path));
        notes.extend(chosen.contradictions(table));
        chosen
    }

    pub(super) fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    pub(super) fn contains(&self, place: usize) -> bool {
        self.columns.iter().any(|column| column.places().contains(&place))
    }

    /// The split of a row.
    pub(super) fn of(&self, row: &csv::StringRecord) -> SplitOf {
        let mut said = self.columns.iter().map(|column| column.of(row));
        said.find(|split| *split != SplitOf::Nothing).unwrap_or(SplitOf::Nothing)
    }

    /// Tells how many rows name no split.
    fn without_split(&self, table: &Table, path: usize) -> Option<String> {
        if self.is_empty() {
            return None;
        }
        let rows = || table.rows.iter().filter(|(_, row)| field(row, path).is_some());
        let empty = rows().filter(|(_, row)| self.of(row) == SplitOf::Nothing).count();
        (empty > 0).then(|| format!("{empty} of {} name no split: it is drawn", counted(rows().count(), "row")))
    }

    /// Tells how often the columns contradict each other.
    fn contradictions(&self, table: &Table) -> Option<String> {
        if self.columns.len() < 2 {
            return None;
        }
        let is_contradicted = |row: &csv::StringRecord| match self.of(row) {
            SplitOf::Split(split) => !self.columns.iter().all(|column| column.allows(row, split)),
            SplitOf::Nothing | SplitOf::Unknown(_) | SplitOf::Unclear(_) => false,
        };
        let mut lines = table.rows.iter().filter(|(_, row)| is_contradicted(row)).map(|(line, _)| line);
        let first = lines.next()?;
        let count = counted(1 + lines.count(), "row");
        let name = |column: &Column| {
            let headers: Vec<&str> = column.places().into_iter().map(|place| table.headers[place].as_str()).collect();
            headers.join(" with ")
        };
        let names: Vec<String> = self.columns.iter().map(name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        Some(format!(
            "the columns {} contradict each other about the splits of {count}, first in line {first}: the first that \
             says something was taken",
            enumerated(&names)
        ))
    }
}

/// Other evidence for the search of flag columns.
struct Evidence {
    has_words: bool,
    has_label: bool,
}

/// The columns of flags. `train` or `test` alone may also be a class.
fn flags(table: &Table, named: impl Fn(&str) -> Option<usize>, evidence: Evidence) -> Vec<Flag> {
    let flag_at = |place: usize, split: Split| Flag { place, header: table.headers[place].clone(), split };
    let is_of_flags = |place: &usize| {
        let mut values = table.column(*place).filter(|value| !value.is_empty()).peekable();
        values.peek().is_some() && values.all(|value| flag(value).is_some())
    };
    let mut flags: Vec<Flag> = FLAGS.iter().filter_map(|(name, split)| Some(flag_at(named(name)?, *split))).collect();
    let perhaps = PERHAPS_FLAGS.iter().filter_map(|(name, split)| Some((named(name).filter(is_of_flags)?, *split)));
    let perhaps: Vec<Flag> = perhaps.map(|(place, split)| flag_at(place, split)).collect();
    let kinds: BTreeSet<Split> = perhaps.iter().map(|flag| flag.split).collect();
    if evidence.has_label || !flags.is_empty() || (kinds.len() > 1 && !evidence.has_words) {
        flags.extend(perhaps);
    }
    flags
}

fn were(count: usize) -> &'static str {
    if count == 1 { "was" } else { "were" }
}

impl Column {
    fn places(&self) -> Vec<usize> {
        match self {
            Column::Words(place, _) => vec![*place],
            Column::Flags(flags) => flags.iter().map(|flag| flag.place).collect(),
        }
    }

    fn of(&self, row: &csv::StringRecord) -> SplitOf {
        match self {
            Column::Flags(flags) => of_flags(flags, row),
            Column::Words(place, meanings) => match field(row, *place) {
                None => SplitOf::Nothing,
                Some(word) => {
                    meanings.get(word).map_or_else(|| SplitOf::Unknown(word.to_owned()), |split| SplitOf::Split(*split))
                }
            },
        }
    }

    /// Whether it does not contradict that a row is of this split.
    fn allows(&self, row: &csv::StringRecord, split: Split) -> bool {
        match self {
            Column::Words(..) => match self.of(row) {
                SplitOf::Split(own) => own == split,
                SplitOf::Nothing | SplitOf::Unknown(_) | SplitOf::Unclear(_) => true,
            },
            Column::Flags(flags) => flags.iter().all(|own| match field(row, own.place).and_then(flag) {
                Some(true) => own.split == split,
                Some(false) => own.split != split,
                None => true,
            }),
        }
    }
}

/// The split whose flag is set. If none is, the row is of train, or, where train has a flag too, of a split without
/// one.
fn of_flags(flags: &[Flag], row: &csv::StringRecord) -> SplitOf {
    let mut set: Vec<&Flag> = Vec::new();
    let mut unset: BTreeSet<Split> = BTreeSet::new();
    for own in flags {
        let Some(text) = field(row, own.place) else { continue };
        match flag(text) {
            Some(true) => set.push(own),
            Some(false) => _ = unset.insert(own.split),
            None => return SplitOf::Unknown(text.to_owned()),
        }
    }
    if let Some(first) = set.first() {
        if set.iter().all(|flag| flag.split == first.split) {
            return SplitOf::Split(first.split);
        }
        let names: Vec<&str> = set.iter().map(|flag| flag.header.as_str()).collect();
        return SplitOf::Unclear(format!("{} are set", enumerated(&names)));
    }
    let has_flag = |split: Split| flags.iter().any(|flag| flag.split == split);
    if unset.is_empty() {
        SplitOf::Nothing
    } else if !has_flag(Split::Train) {
        SplitOf::Split(Split::Train)
    } else if unset.contains(&Split::Train) {
        let rest = [Split::Test, Split::Val].into_iter().find(|split| !has_flag(*split));
        rest.map_or(SplitOf::Nothing, SplitOf::Split)
    } else {
        SplitOf::Nothing
    }
}
