//! The messages of the records, as far as they are read: `wandb/proto/wandb_internal.proto`.

use assay_domain::Timestamp;
use prost::Message;
use std::borrow::Cow;

#[derive(Clone, PartialEq, Message)]
pub(super) struct Record {
    #[prost(message, optional, tag = "2")]
    pub(super) history: Option<History>,
    #[prost(message, optional, tag = "3")]
    pub(super) summary: Option<Items>,
    #[prost(message, optional, tag = "5")]
    pub(super) config: Option<Items>,
    #[prost(message, optional, tag = "7")]
    pub(super) stats: Option<Stats>,
    #[prost(message, optional, tag = "13")]
    pub(super) output: Option<Timed>,
    #[prost(message, optional, tag = "17")]
    pub(super) run: Option<Run>,
    #[prost(message, optional, tag = "18")]
    pub(super) exit: Option<Exit>,
    #[prost(message, optional, tag = "26")]
    pub(super) environment: Option<Environment>,
    #[prost(message, optional, tag = "200")]
    pub(super) sender: Option<Sender>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Sender {
    #[prost(string, tag = "1")]
    pub(super) stream_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Item {
    #[prost(string, tag = "1")]
    pub(super) key: String,
    #[prost(string, repeated, tag = "2")]
    pub(super) nested_key: Vec<String>,
    #[prost(string, tag = "16")]
    pub(super) value_json: String,
}

impl Item {
    /// The keys on the way to it: newer versions write each value by itself, older ones whole objects.
    pub(super) fn path(&self) -> Cow<'_, [String]> {
        match self.nested_key.as_slice() {
            [] => Cow::Owned(vec![self.key.clone()]),
            path => Cow::Borrowed(path),
        }
    }

    pub(super) fn is(&self, name: &str) -> bool {
        match self.nested_key.as_slice() {
            [] => self.key == name,
            path => path == [name],
        }
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Items {
    #[prost(message, repeated, tag = "1")]
    pub(super) update: Vec<Item>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct History {
    #[prost(message, repeated, tag = "1")]
    pub(super) item: Vec<Item>,
    #[prost(message, optional, tag = "2")]
    pub(super) step: Option<Step>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Step {
    #[prost(int64, tag = "1")]
    pub(super) num: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Stats {
    #[prost(message, optional, tag = "2")]
    pub(super) timestamp: Option<ProtoTime>,
    #[prost(message, repeated, tag = "3")]
    pub(super) item: Vec<Item>,
}

/// A line that the program printed, of which only the time counts.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Timed {
    #[prost(message, optional, tag = "2")]
    pub(super) timestamp: Option<ProtoTime>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(super) struct ProtoTime {
    #[prost(int64, tag = "1")]
    pub(super) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(super) nanos: i32,
}

impl ProtoTime {
    pub(super) fn at(self) -> Timestamp {
        Timestamp(self.seconds.saturating_mul(1000).saturating_add((self.nanos / 1_000_000).into()))
    }
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Run {
    #[prost(string, tag = "1")]
    pub(super) run_id: String,
    #[prost(string, tag = "3")]
    pub(super) project: String,
    #[prost(message, optional, tag = "4")]
    pub(super) config: Option<Items>,
    #[prost(string, tag = "6")]
    pub(super) run_group: String,
    #[prost(string, tag = "7")]
    pub(super) job_type: String,
    #[prost(string, tag = "8")]
    pub(super) display_name: String,
    #[prost(string, tag = "9")]
    pub(super) notes: String,
    #[prost(string, repeated, tag = "10")]
    pub(super) tags: Vec<String>,
    #[prost(string, tag = "12")]
    pub(super) sweep_id: String,
    #[prost(string, tag = "13")]
    pub(super) host: String,
    #[prost(message, optional, tag = "17")]
    pub(super) start_time: Option<ProtoTime>,
    #[prost(message, optional, tag = "21")]
    pub(super) git: Option<Git>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Git {
    #[prost(string, tag = "1")]
    pub(super) remote_url: String,
    #[prost(string, tag = "2")]
    pub(super) commit: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Exit {
    #[prost(int32, tag = "1")]
    pub(super) exit_code: i32,
    #[prost(int32, tag = "2")]
    pub(super) runtime: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Environment {
    #[prost(string, tag = "13")]
    pub(super) username: String,
}
