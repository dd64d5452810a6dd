//! What a sample is labelled with: a set of classes.

use crate::ClassId;
use serde::{Deserialize, Serialize};

/// How many classes a sample has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Labelling {
    /// Exactly one.
    #[default]
    OneClass,
    /// Any number, or none.
    AnyClasses,
}

impl Labelling {
    /// Whether a sample may have this label.
    pub fn allows(self, label: &Label) -> bool {
        self == Labelling::AnyClasses || label.only().is_some()
    }

    /// What the share of samples is called whose label is exactly what is predicted.
    pub fn accuracy_name(self) -> &'static str {
        match self {
            Labelling::OneClass => "accuracy",
            Labelling::AnyClasses => "exact match",
        }
    }
}

/// The classes of a sample, each once, in the order of the schema. Without any, the sample shows none of the classes, which
/// is something else than a sample without a label.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "Vec<ClassId>")]
pub struct Label(Vec<ClassId>);

impl Label {
    /// One class.
    pub fn one(class: ClassId) -> Label {
        Label(vec![class])
    }

    /// The classes.
    pub fn classes(&self) -> &[ClassId] {
        &self.0
    }

    /// The class, where it is exactly one.
    pub fn only(&self) -> Option<ClassId> {
        match self.0.as_slice() {
            [class] => Some(*class),
            _ => None,
        }
    }

    /// Whether the class is among them.
    pub fn contains(&self, class: ClassId) -> bool {
        self.0.binary_search(&class).is_ok()
    }

    /// These and one more.
    pub fn with(&self, class: ClassId) -> Label {
        self.0.iter().copied().chain([class]).collect()
    }

    /// These but for one.
    pub fn without(&self, class: ClassId) -> Label {
        Label(self.0.iter().copied().filter(|own| *own != class).collect())
    }

    /// Their names: of each class that the schema has, separated by `", "`; `"none"` without any.
    pub fn names(&self, schema: &[String]) -> String {
        let names: Vec<&str> =
            self.0.iter().map(|class| schema.get(class.0 as usize).map_or("?", String::as_str)).collect();
        if names.is_empty() { "none".into() } else { names.join(", ") }
    }
}

impl From<Vec<ClassId>> for Label {
    fn from(mut classes: Vec<ClassId>) -> Label {
        classes.sort_unstable();
        classes.dedup();
        Label(classes)
    }
}

impl FromIterator<ClassId> for Label {
    fn from_iter<I: IntoIterator<Item = ClassId>>(classes: I) -> Label {
        classes.into_iter().collect::<Vec<_>>().into()
    }
}

/// What is done to the label of a sample.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LabelChange {
    /// It becomes this; none clears it.
    Set(Option<Label>),
    /// One more class; the first one of a sample without a label.
    Add(ClassId),
    /// One class less; without the last one the sample shows none of the classes.
    Remove(ClassId),
}

impl LabelChange {
    /// The label afterwards.
    pub fn of(&self, before: Option<&Label>) -> Option<Label> {
        match self {
            LabelChange::Set(label) => label.clone(),
            LabelChange::Add(class) => Some(before.map_or(Label::one(*class), |before| before.with(*class))),
            LabelChange::Remove(class) => before.map(|before| before.without(*class)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_a_set_in_the_order_of_the_schema() {
        let label: Label = [3, 1, 3].map(ClassId).into_iter().collect();
        assert_eq!(label.classes(), [ClassId(1), ClassId(3)]);
        assert_eq!(label.with(ClassId(2)).without(ClassId(1)).classes(), [ClassId(2), ClassId(3)]);
        assert_eq!((label.only(), label.without(ClassId(3)).only()), (None, Some(ClassId(1))));
        assert_eq!(serde_json::from_str::<Label>("[2,0,2]").unwrap().classes(), [ClassId(0), ClassId(2)]);
        let schema = ["cat", "dog"].map(str::to_owned);
        assert_eq!(Label::from(vec![ClassId(1), ClassId(0)]).names(&schema), "cat, dog");
        assert_eq!(Label::default().names(&schema), "none");
    }

    #[test]
    fn changes_add_and_take_classes_one_by_one() {
        let first = LabelChange::Add(ClassId(2)).of(None);
        assert_eq!(first, Some(Label::one(ClassId(2))));
        let both = LabelChange::Add(ClassId(0)).of(first.as_ref());
        assert_eq!(both, Some(Label::from(vec![ClassId(0), ClassId(2)])));
        assert_eq!(LabelChange::Remove(ClassId(2)).of(first.as_ref()), Some(Label::default()));
        assert_eq!(LabelChange::Remove(ClassId(2)).of(None), None);
        assert_eq!(LabelChange::Set(None).of(both.as_ref()), None);
        for (change, text) in [
            (LabelChange::Set(None), r#"{"set":null}"#),
            (LabelChange::Set(both), r#"{"set":[0,2]}"#),
            (LabelChange::Remove(ClassId(1)), r#"{"remove":1}"#),
        ] {
            assert_eq!(serde_json::to_string(&change).unwrap(), text);
            assert_eq!(serde_json::from_str::<LabelChange>(text).unwrap(), change);
        }
    }
}
