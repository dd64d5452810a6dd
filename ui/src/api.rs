//! Remote values: asked for while they are shown, kept until an event says that they changed.

use crate::transport::{Method, Reply, Request, Transport};
use assay_domain::entity::Event;
use assay_domain::{EventSeq, RunId};
use assay_protocol::{About, ErrorBody, ErrorCode, EventPage, EventsQuery, path};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use web_time::Instant;

/// A remote value in one of its four states: waiting (nothing yet), ready, stale (old, a new one is on its way), failed.
pub(crate) struct Remote<T> {
    /// The latest value.
    pub(crate) value: Option<Arc<T>>,
    /// Why the latest try failed.
    pub(crate) error: Option<ErrorBody>,
}

struct Entry {
    value: Option<Arc<dyn Any + Send + Sync>>,
    error: Option<ErrorBody>,
    in_flight: Option<Cause>,
    stale: bool,
    last_used: u64,
    parse: Parse,
}

type Parse = fn(&[u8]) -> Result<Arc<dyn Any + Send + Sync>, serde_json::Error>;

fn parse<T: DeserializeOwned + Send + Sync + 'static>(
    bytes: &[u8],
) -> Result<Arc<dyn Any + Send + Sync>, serde_json::Error> {
    Ok(Arc::new(serde_json::from_slice::<T>(bytes)?))
}

/// What was read is drawn once all of it is there, at the latest after this.
const TOGETHER: Duration = Duration::from_millis(50);

/// What happens after an action.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Then {
    /// Nothing but the event that it caused.
    Nothing,
    /// A short message.
    Say(String),
    /// The run in the reply is opened.
    OpenRun,
    /// The rule of alerts was kept.
    KeepRule,
    /// Show the place of what is imported.
    ShowImport,
    /// Labels were written to files; the reply says how many.
    TellExport,
    /// Something was done to labels; the reply is its edit.
    Labelled,
    /// The prediction in the reply is shown.
    ShowPrediction,
}

/// Why something is read.
#[derive(Clone, Copy, PartialEq)]
enum Cause {
    /// It is shown.
    Shown,
    /// An event says that it changed.
    Changed,
}

impl Entry {
    /// It is read from now on.
    fn begin(&mut self, cause: Cause) {
        self.in_flight = Some(cause);
        self.stale = false;
    }
}

struct State {
    entries: HashMap<String, Entry>,
    answers: Vec<(Then, Result<Vec<u8>, ErrorBody>)>,
    frame: u64,
    following: Following,
    pace: Pace,
}

impl State {
    /// Whether some of what changed is not there yet.
    fn is_catching_up(&self) -> bool {
        self.entries.values().any(|entry| entry.in_flight == Some(Cause::Changed))
    }
}

/// How often the events are looked at while they come without a pause. Many are taken at once, so that what is shown is not
/// read anew for each; and reading takes no more than a quarter of the time, so that who writes is not held up.
#[derive(Default)]
struct Pace {
    /// When they were last asked for, in the window's time in seconds.
    asked: f64,
    /// How long the slowest of the latest reads of what changed took, in seconds.
    took: f64,
}

impl Pace {
    const LEAST: f64 = 0.1;
    const MOST: f64 = 2.0;

    /// The seconds until the next look.
    fn wait(&self, now: f64, is_catching_up: bool) -> f64 {
        let pause = if is_catching_up { Pace::MOST } else { (4.0 * self.took).clamp(Pace::LEAST, Pace::MOST) };
        (self.asked + pause - now).clamp(0.0, pause)
    }

    fn took(&mut self, seconds: f64) {
        self.took = self.took.max(seconds.min(Pace::MOST / 4.0));
    }

    fn ask(&mut self, now: f64) {
        self.asked = now;
        // What was slow once is so no longer, unless it is again.
        self.took /= 2.0;
    }
}

enum Following {
    No,
    From(EventSeq),
    Waiting,
    Lost,
}

/// The way to the server. Clones share everything.
#[derive(Clone)]
pub(crate) struct Api {
    transport: Arc<dyn Transport>,
    ctx: egui::Context,
    state: Arc<Mutex<State>>,
}

impl Api {
    pub(crate) fn new(transport: Arc<dyn Transport>, ctx: &egui::Context) -> Api {
        let state = State {
            entries: HashMap::new(),
            answers: Vec::new(),
            frame: 0,
            following: Following::No,
            pace: Pace::default(),
        };
        Api { transport, ctx: ctx.clone(), state: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value at a path; asked for when it is not there or stale.
    pub(crate) fn get<T: DeserializeOwned + Send + Sync + 'static>(&self, path: &str) -> Remote<T> {
        let mut state = self.state();
        let frame = state.frame;
        let entry = state.entries.entry(path.to_owned()).or_insert(Entry {
            value: None,
            error: None,
            in_flight: None,
            stale: true,
            last_used: frame,
            parse: parse::<T>,
        });
        entry.last_used = frame;
        let remote =
            Remote { value: entry.value.clone().and_then(|value| value.downcast().ok()), error: entry.error.clone() };
        if entry.stale && entry.in_flight.is_none() {
            entry.begin(Cause::Shown);
            drop(state);
            self.refresh(path, parse::<T>);
        }
        remote
    }

    /// Reads the value at a path anew.
    fn refresh(&self, path: &str, parse: Parse) {
        let (api, key, asked) = (self.clone(), path.to_owned(), Instant::now());
        self.send(Method::Get, path, Vec::new(), move |reply| {
            let parsed = reply.and_then(|bytes| {
                parse(&bytes)
                    .map_err(|why| ErrorBody::new(ErrorCode::Internal, format!("the answer cannot be read: {why}")))
            });
            let mut state = api.state();
            let mut cause = None;
            if let Some(entry) = state.entries.get_mut(&key) {
                cause = entry.in_flight.take();
                match parsed {
                    Ok(value) => {
                        entry.value = Some(value);
                        entry.error = None;
                    }
                    Err(error) => entry.error = Some(error),
                }
            }
            if cause == Some(Cause::Changed) {
                state.pace.took(asked.elapsed().as_secs_f64());
            }
            let is_catching_up = state.is_catching_up();
            drop(state);
            api.ctx.request_repaint_after(if is_catching_up { TOGETHER } else { Duration::ZERO });
        });
    }

    /// Asks again for what failed.
    pub(crate) fn retry(&self, path: &str) {
        if let Some(entry) = self.state().entries.get_mut(path) {
            entry.stale = true;
            entry.error = None;
        }
        self.ctx.request_repaint();
    }

    /// Does something; `then` says what becomes of the answer.
    pub(crate) fn act(&self, method: Method, path: &str, body: &impl Serialize, then: Then) {
        self.act_with_bytes(method, path, serde_json::to_vec(body).unwrap_or_default(), then);
    }

    /// As [`Api::act`], with a body that is no JSON.
    pub(crate) fn act_with_bytes(&self, method: Method, path: &str, body: Vec<u8>, then: Then) {
        let api = self.clone();
        self.send(method, path, body, move |reply| {
            api.state().answers.push((then, reply));
            api.ctx.request_repaint();
        });
    }

    /// Reads bytes once.
    pub(crate) fn bytes(&self, path: &str, done: impl FnOnce(Result<Vec<u8>, ErrorBody>) + Send + 'static) {
        let ctx = self.ctx.clone();
        self.send(Method::Get, path, Vec::new(), move |reply| {
            done(reply);
            ctx.request_repaint();
        });
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        body: Vec<u8>,
        done: impl FnOnce(Result<Vec<u8>, ErrorBody>) + Send + 'static,
    ) {
        let request = Request { method, path: path.to_owned(), body };
        self.transport.send(request, Box::new(move |reply| done(read(reply))));
    }

    /// Begins a frame: follows the events, forgets what was not shown for long, and returns what was answered.
    pub(crate) fn begin_frame(&self) -> Vec<(Then, Result<Vec<u8>, ErrorBody>)> {
        let now = self.ctx.input(|input| input.time);
        let mut state = self.state();
        state.frame += 1;
        let frame = state.frame;
        if frame.is_multiple_of(600) {
            state.entries.retain(|_, entry| entry.in_flight.is_some() || frame - entry.last_used < 3_000);
        }
        let answers = std::mem::take(&mut state.answers);
        match state.following {
            Following::No => {
                state.following = Following::Waiting;
                drop(state);
                let api = self.clone();
                self.send(Method::Get, path::ABOUT, Vec::new(), move |reply| {
                    let about = reply.ok().and_then(|bytes| serde_json::from_slice::<About>(&bytes).ok());
                    let mut state = api.state();
                    state.following = about.map_or(Following::Lost, |about| Following::From(about.last_event));
                    // What was read before the server was lost may be old.
                    state.entries.values_mut().for_each(|entry| entry.stale = true);
                    api.ctx.request_repaint();
                });
            }
            Following::From(after) => {
                let wait = state.pace.wait(now, state.is_catching_up());
                if wait > 0.0 {
                    drop(state);
                    self.ctx.request_repaint_after(Duration::from_secs_f64(wait));
                    return answers;
                }
                state.following = Following::Waiting;
                state.pace.ask(now);
                drop(state);
                let api = self.clone();
                let query = EventsQuery { after: after.0, wait_secs: 25.0 };
                self.send(Method::Get, &format!("{}{}", path::EVENTS, query.to_query()), Vec::new(), move |reply| {
                    let page = reply.ok().and_then(|bytes| serde_json::from_slice::<EventPage>(&bytes).ok());
                    match page {
                        Some(page) => api.follow(&page),
                        None => {
                            api.state().following = Following::Lost;
                            api.ctx.request_repaint();
                        }
                    }
                });
            }
            Following::Waiting => {}
            Following::Lost => {
                // Tries again now and then; a new server may have forgotten nothing, the events are kept.
                if frame.is_multiple_of(30) {
                    state.following = Following::No;
                }
                self.ctx.request_repaint_after(Duration::from_millis(100));
            }
        }
        answers
    }

    /// Reads what is shown and has changed: at once, for to draw it before would show nothing new.
    fn follow(&self, page: &EventPage) {
        let mut state = self.state();
        state.following = Following::From(page.last);
        for event in &page.events {
            invalidate(&mut state.entries, &event.event);
        }
        let shown = state.frame.saturating_sub(1);
        let mut changed = Vec::new();
        for (path, entry) in &mut state.entries {
            if entry.stale && entry.in_flight.is_none() && entry.last_used >= shown {
                entry.begin(Cause::Changed);
                changed.push((path.clone(), entry.parse));
            }
        }
        drop(state);
        // What is read draws when it is there; where it does not come, the events are followed all the same.
        let wait = if changed.is_empty() { 0.0 } else { Pace::MOST };
        self.ctx.request_repaint_after(Duration::from_secs_f64(wait));
        changed.iter().for_each(|(path, parse)| self.refresh(path, *parse));
    }

    /// Whether the server does not answer.
    pub(crate) fn is_lost(&self) -> bool {
        matches!(self.state().following, Following::Lost)
    }
}

fn read(reply: Result<Reply, String>) -> Result<Vec<u8>, ErrorBody> {
    match reply {
        Ok(reply) if (200..300).contains(&reply.status) => Ok(reply.bytes),
        Ok(reply) => Err(serde_json::from_slice(&reply.bytes)
            .unwrap_or_else(|_| ErrorBody::new(ErrorCode::Internal, format!("the server answered {}", reply.status)))),
        Err(why) => Err(ErrorBody::new(ErrorCode::Unreachable, format!("the server does not answer: {why}"))),
    }
}

/// Marks what an event changed.
fn invalidate(entries: &mut HashMap<String, Entry>, event: &Event) {
    let own = |place: &str, path: &str| {
        path == place || path.strip_prefix(place).is_some_and(|rest| rest.starts_with(['/', '?']))
    };
    let series_of = |path: &str, run: RunId| {
        let query = path.strip_prefix(path::SERIES).and_then(|rest| rest.strip_prefix('?'));
        let runs = query.and_then(|query| query.split('&').find_map(|part| part.strip_prefix("runs=")));
        runs.is_some_and(|runs| runs.split("%2C").any(|one| one == run.0.to_string()))
    };
    let of_datasets = |path: &str| path == path::DATASETS || path.starts_with("/api/v1/datasets?");
    let list_of_runs = |path: &str| path == path::RUNS || path.starts_with("/api/v1/runs?");
    let figures_of_runs = |path: &str| list_of_runs(path) || own(path::MODELS, path) || own(path::COMPARE, path);
    let changed = |path: &str| match event {
        // Its runs are deleted and restored with it, and bear its name.
        Event::ExperimentChanged { .. } => {
            figures_of_runs(path) || path.starts_with("/api/v1/runs/") || own(path::EXPERIMENTS, path)
        }
        Event::RegistryChanged { .. } => path == path::REGISTRY,
        Event::RunChanged { run } => own(&path::run(*run, ""), path) || figures_of_runs(path),
        Event::MetricsLogged { run } => own(&path::run(*run, ""), path) || list_of_runs(path) || series_of(path, *run),
        Event::LogWritten { run } => own(&path::run(*run, ""), path),
        Event::ArtifactsChanged { run } => own(&path::run(*run, ""), path) || own(path::MODELS, path),
        Event::DatasetChanged { dataset } => own(&path::dataset(*dataset, ""), path) || of_datasets(path),
        Event::LabelChanged { dataset, sample } => {
            own(&path::dataset(*dataset, ""), path) || of_datasets(path) || own(&path::sample(*sample, ""), path)
        }
        Event::SnapshotMade { dataset } => own(&path::dataset(*dataset, "/snapshots"), path),
        Event::EvaluationMade { run, .. } => {
            // What an image resembles is looked for in all evaluations of a model.
            let resembles = path.starts_with(path::EVALUATIONS) && path.contains("/similar/");
            own(&path::run(*run, ""), path) || path == path::EVALUATIONS || resembles || own(path::MODELS, path)
        }
        Event::JobChanged { .. } => own(path::JOBS, path),
        Event::AlertRaised { .. } | Event::AlertsChanged => own(path::ALERTS, path) || own(path::ALERT_RULES, path),
        Event::SettingsChanged => path == path::SETTINGS,
        Event::DirectionsChanged => {
            list_of_runs(path) || path.starts_with("/api/v1/runs/") || own(path::COMPARE, path) || path == path::METRICS
        }
        Event::SourceChanged { dataset } => own(&path::dataset(*dataset, "/problems"), path),
    };
    for (path, entry) in entries {
        if changed(path) {
            entry.stale = true;
        }
    }
}
