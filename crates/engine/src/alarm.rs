//! A thread that notices silent runs and posts the webhooks of alerts. While no rule asks for either, it sleeps.

use crate::{Engine, Result};
use assay_domain::alert::{Alert, Rule, Watched};
use assay_domain::entity::Run;
use assay_domain::{RuleId, RunId, Timestamp};
use assay_store::DueAlert;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often it looks.
const LOOK: Duration = Duration::from_secs(1);

/// The longest that a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// The same while the engine closes.
const LAST_PATIENCE: Duration = Duration::from_secs(3);

/// The seconds after which a webhook that was not taken is tried again, the last of them over and over.
const AGAIN: [i64; 7] = [1, 5, 30, 120, 600, 3_600, 6 * 3_600];

/// An alert that was not taken for so many seconds has failed.
const GIVEN_UP: f64 = 48.0 * 3_600.0;

/// As many webhooks are posted in one look.
const ROUND: usize = 50;

/// What the thread is told.
enum Told {
    /// Rules changed.
    Look,
    /// The engine closes.
    End,
}

#[derive(Default)]
pub(crate) struct Alarm {
    thread: Mutex<Option<(Sender<Told>, JoinHandle<()>)>>,
}

/// Why a webhook was not taken.
pub(crate) struct Refusal {
    why: String,
    kind: RefusalKind,
}

#[derive(Clone, Copy, PartialEq)]
enum RefusalKind {
    /// Nobody answers there.
    Unreachable,
    /// The receiver may take it later.
    Later,
    /// It will not take it.
    Never,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.why)
    }
}

/// When a run was found to have so many points.
#[derive(Clone, Copy)]
struct Heard {
    points: u64,
    at: Timestamp,
    /// Whether its silence is the rule's business: it logged after the rule was made, and nothing was said of it yet.
    counts: bool,
}

/// What is known of the runs that rules of silence are for.
type Silence = HashMap<(RuleId, RunId), Heard>;

impl Engine {
    /// Begins to look.
    pub(crate) fn watch_alerts(self: &Arc<Self>) -> std::io::Result<()> {
        let (tell, told) = channel();
        let engine = Arc::downgrade(self);
        let thread = std::thread::Builder::new().name("alarm".into()).spawn(move || watch(&engine, &told))?;
        *self.alarm.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some((tell, thread));
        Ok(())
    }

    /// Looks once; returns whether it must look again without being told.
    fn look_for_alerts(&self, silence: &mut Silence, patience: Duration) -> Result<bool> {
        if !self.store.read(|reader| reader.alerts_need_time())? {
            silence.clear();
            return Ok(false);
        }
        self.notice_silence(silence)?;
        self.post_webhooks(patience)?;
        Ok(true)
    }

    fn notice_silence(&self, silence: &mut Silence) -> Result<()> {
        let now = (self.clock)();
        let rules = self.store.read(|reader| reader.rules_in_force(Watched::Time))?;
        let mut known = std::mem::take(silence);
        for rule in rules {
            let assay_domain::alert::Condition::Silent { metric, .. } = &rule.rule.condition else { continue };
            for (run, last, points) in self.store.read(|reader| reader.running(metric.as_deref()))? {
                let heard = match known.remove(&(rule.id, run)) {
                    Some(heard) if heard.points == points => heard,
                    Some(_) => Heard { points, at: now, counts: true },
                    None => Heard { points, at: now, counts: last >= rule.created },
                };
                let silent = heard.counts.then(|| rule.rule.condition.silent_for(points, now.seconds_since(heard.at)));
                let silent = silent.flatten();
                silence.insert((rule.id, run), Heard { counts: heard.counts && silent.is_none(), ..heard });
                if let Some(sighting) = silent {
                    let rule = rule.clone();
                    self.store.write(move |tx| tx.raise(&rule, run, &sighting, now))?;
                }
            }
        }
        Ok(())
    }

    fn post_webhooks(&self, patience: Duration) -> Result<()> {
        let now = (self.clock)();
        let agent = agent(patience);
        let mut unreachable: Vec<String> = Vec::new();
        for due in self.store.read(|reader| reader.due_alerts(ROUND))? {
            if due.due > now || unreachable.contains(&due.webhook) {
                continue;
            }
            let run = self.run(due.alert.run)?;
            let rule = self.store.read(|reader| reader.rule(due.alert.rule)).ok();
            let text = text(&due.alert.rule_name, &due.alert.run_name, &due.alert.message);
            let body = body(&due.alert, &run, rule.as_ref().map(|rule| &rule.rule), &text);
            match post(&agent, &due.webhook, &due.key, &body) {
                Ok(()) => self.store.write(move |tx| tx.webhook_was_taken(due.alert.id))?,
                Err(refusal) => {
                    if refusal.kind == RefusalKind::Unreachable {
                        unreachable.push(due.webhook.clone());
                    }
                    self.put_off(due, refusal)?;
                }
            }
        }
        Ok(())
    }

    fn put_off(&self, due: DueAlert, refusal: Refusal) -> Result<()> {
        let now = (self.clock)();
        let tried = due.alert.delivery.as_ref().map_or(0, |delivery| delivery.attempts) as usize;
        let may_pass = refusal.kind != RefusalKind::Never && now.seconds_since(due.alert.at) < GIVEN_UP;
        let again = may_pass.then(|| Timestamp(now.0 + AGAIN[tried.min(AGAIN.len() - 1)] * 1_000));
        tracing::warn!(alert = %due.alert.id, %refusal, will_try_again = again.is_some(), "a webhook is not taken");
        Ok(self.store.write(move |tx| {
            tx.webhook_was_not_taken(due.alert.id, &refusal.why, again)?;
            match again {
                Some(again) if refusal.kind == RefusalKind::Unreachable => tx.put_off_webhooks(&due.webhook, again),
                _ => Ok(()),
            }
        })?)
    }
}

impl Alarm {
    /// Looks now.
    pub(crate) fn look(&self) {
        if let Some((tell, _)) = &*self.thread.lock().unwrap_or_else(PoisonError::into_inner) {
            let _ = tell.send(Told::Look); // it has ended
        }
    }

    /// Ends the thread, after it has posted what was raised meanwhile.
    pub(crate) fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some((tell, thread)) = thread {
            let _ = tell.send(Told::End); // it has ended
            let _ = thread.join(); // its panic was told
        }
    }

    /// Posts an alert that nothing happened.
    pub(crate) fn post_test(&self, webhook: &str, rule: &Rule, now: Timestamp, key: &str) -> Result<(), Refusal> {
        let message = "a test: nothing happened";
        let body = json!({ "text": text(&rule.title(), "", message), "test": true, "rule": rule.title(),
                           "condition": rule.condition.to_string(), "message": message, "at": now });
        post(&agent(PATIENCE), webhook, key, &body)
    }
}

fn watch(engine: &Weak<Engine>, told: &Receiver<Told>) {
    let mut silence = Silence::new();
    let mut look = |patience| {
        let engine = engine.upgrade()?;
        Some(engine.look_for_alerts(&mut silence, patience).unwrap_or_else(|error| {
            tracing::warn!(%error, "alerts are not looked for");
            true
        }))
    };
    while let Some(must_look_again) = look(PATIENCE) {
        let wait = if must_look_again { LOOK } else { Duration::MAX };
        match told.recv_timeout(wait) {
            Ok(Told::Look) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Told::End) => {
                look(LAST_PATIENCE);
                return;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

/// Whether this is an address that can be posted to.
pub(crate) fn is_address(text: &str) -> bool {
    text.parse::<ureq::http::Uri>().is_ok_and(|address| {
        matches!(address.scheme_str(), Some("http" | "https")) && address.host().is_some_and(|host| !host.is_empty())
    })
}

fn agent(patience: Duration) -> ureq::Agent {
    // Where it is sent on to is not where people said that it may go.
    let config = ureq::Agent::config_builder().timeout_global(Some(patience)).max_redirects(0);
    config.http_status_as_error(false).build().into()
}

/// Posts JSON. `key` tells the receiver whether it has taken the same before.
fn post(agent: &ureq::Agent, address: &str, key: &str, body: &Value) -> Result<(), Refusal> {
    let request = agent.post(address).header("content-type", "application/json").header("idempotency-key", key);
    let response = request
        .send(body.to_string())
        .map_err(|error| Refusal { why: error.to_string(), kind: RefusalKind::Unreachable })?;
    let status = response.status();
    match status.as_u16() {
        200..300 => Ok(()),
        code => Err(Refusal {
            why: format!("the receiver answered {status}"),
            // What it calls our fault stays so, but for what it calls early.
            kind: match code {
                408 | 425 | 429 => RefusalKind::Later,
                300..500 => RefusalKind::Never,
                _ => RefusalKind::Later,
            },
        }),
    }
}

fn text(rule: &str, run: &str, message: &str) -> String {
    let of = if run.is_empty() { String::new() } else { format!(" in {run}") };
    format!("{rule}{of}: {message}")
}

fn body(alert: &Alert, run: &Run, rule: Option<&Rule>, text: &str) -> Value {
    json!({
        "text": text,
        "alert": alert.id,
        "rule": alert.rule_name,
        "condition": rule.map(|rule| rule.condition.to_string()),
        "message": alert.message,
        "at": alert.at,
        "run": { "id": run.id, "uid": run.uid, "name": run.name, "experiment": run.experiment, "status": run.status },
    })
}
