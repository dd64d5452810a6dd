//! The five places, and the alerts.

mod alerts;
mod compare;
mod data;
mod label;
mod models;
mod new_run;
mod profile;
mod review;
mod run;
mod runs;
mod scores;

use crate::api::{Api, Then};
use crate::command::Command;
use crate::images::Images;
use crate::route::Route;
use crate::tokens::Tokens;
use crate::widgets::{empty_ui, remote_ui};
use assay_domain::RunId;
use assay_protocol::{ErrorBody, ErrorCode, path};
use egui::Ui;

/// What a place may read and ask for.
pub(crate) struct Cx<'a> {
    pub(crate) api: &'a Api,
    pub(crate) images: &'a mut Images,
    pub(crate) route: &'a mut Route,
    pub(crate) person: &'a mut String,
    pub(crate) commands: &'a [Command],
    pub(crate) tokens: Tokens,
}

impl Cx<'_> {
    pub(crate) fn asked_for(&self, command: Command) -> bool {
        self.commands.contains(&command)
    }

    /// The index after the keys for next, skip and previous, within `total`.
    pub(crate) fn stepped(&self, index: usize, total: usize) -> usize {
        let forth = self.asked_for(Command::Next) || self.asked_for(Command::Skip);
        let back = self.asked_for(Command::Previous);
        (index + usize::from(forth)).saturating_sub(usize::from(back)).min(total.saturating_sub(1))
    }
}

/// What each place remembers.
#[derive(Default)]
pub(crate) struct Places {
    runs: runs::Runs,
    run: run::RunPage,
    compare: compare::Compare,
    pub(crate) new_run: new_run::NewRun,
    pub(crate) data: data::Data,
    pub(crate) label: label::Label,
    review: review::Review,
    pub(crate) models: models::Models,
    pub(crate) alerts: alerts::Alerts,
}

impl Places {
    pub(crate) fn places_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>) {
        // Wherever people go meanwhile.
        self.label.send_next(cx);
        if *cx.route != Route::Alerts {
            self.alerts.leave();
        }
        match cx.route.clone() {
            Route::Runs => self.runs.runs_ui(ui, cx, &mut self.new_run, &mut self.data),
            Route::Run(run) => self.run.run_ui(ui, cx, run, &mut self.new_run),
            Route::Uid(uid) => uid_ui(ui, cx, &uid),
            Route::Experiment(experiment) => self.runs.experiment_ui(ui, cx, experiment),
            Route::Compare(runs) => self.compare.compare_ui(ui, cx, &runs),
            Route::Data(dataset) => self.data.data_ui(ui, cx, dataset),
            Route::Label(dataset) => self.label.label_ui(ui, cx, dataset),
            Route::Review(evaluation) => self.review.review_ui(ui, cx, evaluation),
            Route::Models => self.models.models_ui(ui, cx),
            Route::Alerts => self.alerts.alerts_ui(ui, cx),
        }
        self.new_run.form_ui(ui.ctx(), cx);
        self.data.import_ui(ui.ctx(), cx);
        self.alerts.form_ui(ui.ctx(), cx);
    }

    pub(crate) fn failed(&mut self, then: &Then, error: &ErrorBody) {
        if *then == Then::Labelled {
            self.label.not_saved();
        }
        if *then == Then::KeepRule {
            self.alerts.refused(error);
        }
        if *then == Then::OpenRun {
            self.new_run.refused(error);
        }
    }

    /// A file or folder was dropped on the window.
    pub(crate) fn dropped(&mut self, route: &Route, file: egui::DroppedFileHandle, ctx: &egui::Context) {
        match route {
            Route::Models => self.models.dropped(file, ctx),
            _ => self.data.offer(&file.path().display().to_string()),
        }
    }
}

/// Leads on to the run of a uid.
fn uid_ui(ui: &mut Ui, cx: &mut Cx<'_>, uid: &str) {
    if cx.asked_for(Command::Back) {
        *cx.route = Route::Runs;
    }
    let address = path::find_run(uid);
    let remote = cx.api.get::<RunId>(&address);
    match remote.error.as_ref().map(|error| error.code) {
        Some(ErrorCode::NotFound) => {
            let text = "It may have been deleted, or belong to another workspace.";
            if empty_ui(ui, &format!("There is no run {uid}"), text, Some("Go to runs")) {
                *cx.route = Route::Runs;
            }
        }
        _ => {
            let api = cx.api.clone();
            remote_ui(ui, &api, &address, remote, |_, run| *cx.route = Route::Run(*run));
        }
    }
}
