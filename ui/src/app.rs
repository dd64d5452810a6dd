//! The shell: rail, top bar, the open place, and what lies above them.

use crate::accessible::AccessibleTree;
use crate::api::{Api, Then};
use crate::command::Command;
use crate::images::Images;
use crate::keymap::Keymap;
use crate::palette::Palette;
use crate::place::{Cx, Places};
use crate::route::Route;
use crate::shortcuts::Shortcuts;
use crate::tokens::{self, GRID, RAIL, Tokens, strong};
use crate::transport::{Method, Transport};
use crate::widgets::badge_ui;
use assay_domain::entity::{Job, JobKind, LabelEdit, Run};
use assay_domain::{AlertId, JobId, RunStatus, counted};
use assay_protocol::{About, AlertsReply, ErrorBody, LabelsWritten, PredictionReply, Settings, SettingsPatch, path};
use egui::{Align, Align2, Context, Frame, Layout, Margin, Panel, RichText, Sense, Stroke, Theme, Ui, pos2, vec2};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The whole interface.
pub struct App {
    api: Api,
    images: Images,
    route: Route,
    places: Places,
    palette: Palette,
    shortcuts: Shortcuts,
    /// What the server said last of what people chose.
    followed: Option<Arc<Settings>>,
    /// The latest alert that was told of.
    told: Option<AlertId>,
    /// Jobs whose end is to be told: those that were asked for here, or seen at work.
    awaited: BTreeSet<JobId>,
    toasts: Vec<Toast>,
    person: String,
}

struct Toast {
    text: String,
    tone: Tone,
    until: f64,
}

/// What a short message is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Tone {
    Done,
    Failed,
    Alert,
}

impl App {
    /// The interface over this way to the server. Fonts and themes are set here.
    pub fn new(ctx: &Context, transport: Arc<dyn Transport>) -> App {
        tokens::install(ctx);
        ctx.add_plugin(AccessibleTree::default());
        let api = Api::new(transport, ctx);
        App {
            images: Images::new(api.clone()),
            api,
            route: Route::default(),
            places: Places::default(),
            palette: Palette::default(),
            shortcuts: Shortcuts::default(),
            followed: None,
            told: None,
            awaited: BTreeSet::new(),
            toasts: Vec::new(),
            person: "me".into(),
        }
    }

    /// Where one is.
    pub fn route(&self) -> &Route {
        &self.route
    }

    /// Goes there.
    pub fn go(&mut self, route: Route) {
        self.route = route;
    }

    /// Opens the import form with this path, as when a folder is dropped on the window.
    pub fn offer_import(&mut self, source: &str) {
        self.places.data.offer(source);
    }

    /// Shows what the chosen model says of an image, as when it is dropped on the window.
    pub fn offer_image(&mut self, bytes: Vec<u8>) {
        self.places.models.offer(bytes);
        self.route = Route::Models;
    }

    /// One frame.
    pub fn ui(&mut self, ui: &mut Ui) {
        let ctx = ui.ctx().clone();
        for (then, answer) in self.api.begin_frame() {
            self.answer(&ctx, then, answer);
        }
        self.images.begin_frame(&ctx);
        let dropped = ctx.input(|input| input.raw.dropped_files.clone());
        for file in dropped {
            self.places.dropped(&self.route, file, &ctx);
        }
        self.apply_settings(&ctx);
        self.tell_alerts(&ctx);
        self.tell_jobs(&ctx);
        // A dialog has the keys to itself.
        let dialog = self.palette.open || ctx.memory(|memory| memory.top_modal_layer().is_some());
        let mut commands = if dialog { Vec::new() } else { Keymap::of(&ctx).pressed(&ctx) };
        let tokens = Tokens::of(&ctx);
        ui.painter().rect_filled(ui.max_rect(), 0.0, tokens.background);
        self.rail_ui(ui);
        self.top_bar_ui(ui);
        commands.extend(self.palette.palette_ui(&ctx));
        let before = self.route.clone();
        commands.retain(|command| !self.shell_command(&ctx, *command));
        let frame = Frame::new().fill(tokens.background).inner_margin(Margin::same(16));
        egui::CentralPanel::no_frame().frame(frame).show(ui, |ui| {
            let mut cx = Cx {
                api: &self.api,
                images: &mut self.images,
                route: &mut self.route,
                person: &mut self.person,
                commands: &commands,
                tokens,
            };
            self.places.places_ui(ui, &mut cx);
        });
        if before != self.route {
            ctx.request_repaint();
        }
        if let Some((command, keymap)) = self.shortcuts.shortcuts_ui(&ctx) {
            let keys = [(command.id(), keymap.chosen_names(command))].into();
            keymap.install(&ctx);
            self.keep(&SettingsPatch { keys, ..SettingsPatch::default() });
        }
        self.toasts_ui(&ctx);
    }

    /// Follows the settings as the server keeps them.
    fn apply_settings(&mut self, ctx: &Context) {
        let Some(settings) = self.api.get::<Settings>(path::SETTINGS).value else { return };
        if self.followed.as_ref().is_some_and(|followed| Arc::ptr_eq(followed, &settings)) {
            return;
        }
        if let Some(theme) = settings.theme {
            ctx.set_theme(theme_of(theme));
        }
        Keymap::read(&settings.keys).install(ctx);
        self.followed = Some(settings);
    }

    /// Tells of alerts that were raised since the last frame; of many, of the latest.
    fn tell_alerts(&mut self, ctx: &Context) {
        let Some(reply) = self.api.get::<AlertsReply>(path::ALERTS).value else { return };
        let latest = reply.alerts.first().map_or(AlertId(0), |alert| alert.id);
        let Some(told) = self.told.replace(latest) else { return };
        for alert in reply.alerts.iter().filter(|alert| alert.id > told).take(3) {
            self.say(ctx, format!("{}: {}", alert.run_name, alert.message), Tone::Alert);
        }
    }

    /// Says how imports ended, and what else failed: where a run or its evaluation ended well, its page shows it.
    fn tell_jobs(&mut self, ctx: &Context) {
        let Some(jobs) = self.api.get::<Vec<Job>>(path::JOBS).value else { return };
        for job in jobs.iter() {
            if !job.status.has_ended() {
                self.awaited.insert(job.id);
            } else if self.awaited.remove(&job.id) {
                let (what, is_told) = match &job.work {
                    JobKind::Import { name, .. } => (name.clone(), true),
                    JobKind::ImportRuns { source, .. } | JobKind::Merge { source } => (source.clone(), true),
                    JobKind::Train { run } | JobKind::Evaluate { run, .. } => (format!("Run {run}"), false),
                };
                let tone = if job.status == RunStatus::Failed { Tone::Failed } else { Tone::Done };
                if is_told || tone == Tone::Failed {
                    self.say(ctx, format!("{what}: {}", job.message), tone);
                }
            }
        }
    }

    /// Keeps a choice; it is in use at once.
    fn keep(&self, patch: &SettingsPatch) {
        self.api.act(Method::Patch, path::SETTINGS, patch, Then::Nothing);
    }

    fn shell_command(&mut self, ctx: &Context, command: Command) -> bool {
        match command {
            Command::Palette => self.palette.show(),
            Command::Help => self.shortcuts.show(),
            Command::GoRuns => self.route = Route::Runs,
            Command::GoData => self.route = Route::Data(None),
            Command::GoLabel => self.route = Route::Label(None),
            Command::GoReview => self.route = Route::Review(None),
            Command::GoModels => self.route = Route::Models,
            Command::GoAlerts => self.route = Route::Alerts,
            Command::NewRun => self.places.new_run.show(),
            Command::Import => self.offer_import(""),
            Command::Theme => {
                let theme = match ctx.theme() {
                    Theme::Dark => assay_protocol::Theme::Light,
                    Theme::Light => assay_protocol::Theme::Dark,
                };
                ctx.set_theme(theme_of(theme));
                self.keep(&SettingsPatch { theme: Some(theme), ..SettingsPatch::default() });
            }
            _ => return false,
        }
        true
    }

    fn answer(&mut self, ctx: &Context, then: Then, answer: Result<Vec<u8>, ErrorBody>) {
        let bytes = match answer {
            Ok(bytes) => bytes,
            Err(error) => {
                self.places.failed(&then, &error);
                return self.say(ctx, error.message, Tone::Failed);
            }
        };
        match then {
            Then::Nothing => {}
            Then::Say(text) => self.say(ctx, text, Tone::Done),
            Then::OpenRun => {
                if let Ok(run) = serde_json::from_slice::<Run>(&bytes) {
                    self.places.new_run.close();
                    self.route = Route::Run(run.id);
                }
            }
            Then::KeepRule => self.places.alerts.kept(),
            Then::TellExport => {
                if let Ok(written) = serde_json::from_slice::<LabelsWritten>(&bytes) {
                    let mut text = format!("{} written to {}", counted(written.samples, "image"), written.target);
                    if let Some(first) = written.left_out.first() {
                        let (count, path, reason) = (written.left_out.len(), &first.path, &first.reason);
                        text += &format!("; {count} left out ({path}: {reason})");
                    }
                    self.say(ctx, text, Tone::Done);
                }
            }
            Then::ShowImport => {
                let job = serde_json::from_slice::<Job>(&bytes);
                self.awaited.extend(job.iter().map(|job| job.id));
                let (route, text) = match job.map(|job| job.work) {
                    Ok(JobKind::Merge { .. }) => {
                        (Route::Runs, "Taking over another workspace; the progress is shown above")
                    }
                    Ok(JobKind::ImportRuns { .. }) => (Route::Runs, "Reading runs; they are followed from now on"),
                    _ => (Route::Data(None), "Importing; the progress is shown above"),
                };
                self.route = route;
                self.say(ctx, text.to_owned(), Tone::Done);
            }
            Then::Labelled => match serde_json::from_slice::<LabelEdit>(&bytes) {
                Ok(edit) => self.places.label.saved(edit),
                Err(_) => self.places.label.not_saved(),
            },
            Then::ShowPrediction => {
                if let Ok(reply) = serde_json::from_slice::<PredictionReply>(&bytes) {
                    self.places.models.show_prediction(reply);
                }
            }
        }
    }

    fn say(&mut self, ctx: &Context, text: String, tone: Tone) {
        // As long as it takes to read it.
        let secs = if tone == Tone::Done { 4.0 } else { 10.0 } + text.chars().count() as f64 / 30.0;
        self.toasts.retain(|toast| toast.text != text);
        self.toasts.push(Toast { text, tone, until: ctx.input(|input| input.time) + secs });
    }

    fn rail_ui(&mut self, ui: &mut Ui) {
        let tokens = Tokens::of(ui.ctx());
        let keymap = Keymap::of(ui.ctx());
        let frame = Frame::new().fill(tokens.panel).inner_margin(Margin::symmetric(6, 10));
        Panel::left("rail").exact_size(RAIL).resizable(false).frame(frame).show(ui, |ui| {
            logo_ui(ui, tokens);
            ui.add_space(4.0 * GRID);
            let places = [
                (Route::Runs, Command::GoRuns),
                (Route::Data(None), Command::GoData),
                (Route::Label(None), Command::GoLabel),
                (Route::Review(None), Command::GoReview),
                (Route::Models, Command::GoModels),
            ];
            for (route, command) in places {
                let place = route.place();
                let here = self.route.place() == place;
                let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 54.0), Sense::click());
                response.widget_info(|| egui::WidgetInfo::selected(egui::Role::Tab, true, here, place));
                let color = if here {
                    tokens.accent
                } else if response.hovered() {
                    tokens.text
                } else {
                    tokens.weak
                };
                if here || response.hovered() || response.has_focus() {
                    ui.painter().rect_filled(rect, 8.0, if here { tokens.raised } else { tokens.hovered });
                }
                icon(ui.painter(), place, pos2(rect.center().x, rect.top() + 19.0), color);
                ui.painter().text(
                    pos2(rect.center().x, rect.bottom() - 8.0),
                    Align2::CENTER_BOTTOM,
                    place,
                    egui::FontId::proportional(11.5),
                    color,
                );
                if response.on_hover_text(format!("{place}  {}", keymap.text(ui.ctx(), command))).clicked() {
                    self.route = route;
                }
            }
        });
    }

    fn top_bar_ui(&mut self, ui: &mut Ui) {
        let tokens = Tokens::of(ui.ctx());
        let frame = Frame::new().fill(tokens.panel).inner_margin(Margin::symmetric(16, 6));
        Panel::top("top").exact_size(44.0).resizable(false).frame(frame).show(ui, |ui| {
            ui.horizontal_centered(|ui| {
                let about = self.api.get::<About>(path::ABOUT);
                if let Some(about) = &about.value {
                    let folder = about.workspace.trim_end_matches(".assay").trim_end_matches(['/', '\\']);
                    let name = folder.rsplit(['/', '\\']).next().unwrap_or(folder);
                    ui.label(RichText::new(name).font(strong(13.0))).on_hover_text(&about.workspace);
                    if about.read_only {
                        badge_ui(ui, "read-only", tokens.warning);
                    }
                }
                if self.api.is_lost() {
                    badge_ui(ui, "no answer from the server; trying again", tokens.bad);
                }
                ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                    let key = Keymap::of(ui.ctx()).text(ui.ctx(), Command::Palette);
                    if ui.button(RichText::new(format!("Commands  {key}")).color(tokens.weak)).clicked() {
                        self.palette.show();
                    }
                    if let Some(about) = &about.value {
                        badge_ui(ui, &about.device.to_uppercase(), tokens.weak);
                    }
                    self.bell_ui(ui, tokens);
                    self.jobs_ui(ui, tokens);
                });
            });
        });
    }

    fn bell_ui(&mut self, ui: &mut Ui, tokens: Tokens) {
        let unseen = self.api.get::<AlertsReply>(path::ALERTS).value.map_or(0, |reply| reply.unseen);
        let count = if unseen > 99 { "99+".to_owned() } else { unseen.to_string() };
        let (text, color) = match unseen {
            0 => ("Alerts".to_owned(), tokens.weak),
            _ => (format!("Alerts  {count}"), tokens.warning),
        };
        let hint = format!("What happened in runs, and what to watch for  {}", {
            Keymap::of(ui.ctx()).text(ui.ctx(), Command::GoAlerts)
        });
        if ui.button(RichText::new(text).color(color)).on_hover_text(hint).clicked() {
            self.route = Route::Alerts;
        }
    }

    fn jobs_ui(&self, ui: &mut Ui, tokens: Tokens) {
        let jobs = self.api.get::<Vec<Job>>(path::JOBS);
        let Some(jobs) = jobs.value else { return };
        let waiting = jobs.iter().filter(|job| job.status == RunStatus::Queued).count();
        if waiting > 0 {
            badge_ui(ui, &format!("{waiting} waiting"), tokens.weak);
        }
        for job in jobs.iter().filter(|job| job.status == RunStatus::Running) {
            let name = match &job.work {
                JobKind::Import { name, .. } => format!("Importing {name}"),
                JobKind::ImportRuns { source, .. } => format!("Reading runs of {source}"),
                JobKind::Merge { source } => format!("Taking over {source}"),
                JobKind::Train { run } => format!("Training run {run}"),
                JobKind::Evaluate { run, split, .. } => format!("Evaluating run {run} on {split}"),
            };
            if ui.button("Stop").on_hover_text(format!("Stop: {name}")).clicked() {
                self.api.act(Method::Post, &path::job(job.id, "/cancel"), &(), Then::Say(format!("{name}: stopping")));
            }
            let share = job.progress.fraction();
            let (rect, response) = ui.allocate_exact_size(vec2(90.0, 6.0), Sense::hover());
            ui.painter().rect_filled(rect, 3.0, tokens.raised);
            let width = rect.width() * share.unwrap_or(0.0) as f32;
            ui.painter().rect_filled(
                egui::Rect::from_min_size(rect.min, vec2(width, rect.height())),
                3.0,
                tokens.accent,
            );
            response.on_hover_text(&job.message);
            let percent = share.map(|share| format!("  {:.0} %", share * 100.0)).unwrap_or_default();
            ui.label(RichText::new(format!("{name}{percent}")).color(tokens.weak));
        }
    }

    fn toasts_ui(&mut self, ctx: &Context) {
        let now = ctx.input(|input| input.time);
        self.toasts.retain(|toast| toast.until > now);
        let tokens = Tokens::of(ctx);
        if self.toasts.is_empty() {
            return;
        }
        ctx.request_repaint_after(std::time::Duration::from_millis(500));
        let mut closed = None;
        egui::Area::new(egui::Id::unique("toasts"))
            .anchor(Align2::RIGHT_BOTTOM, vec2(-16.0, -16.0))
            .order(egui::Order::Foreground)
            .show(ctx, |ui| {
                for (index, toast) in self.toasts.iter().enumerate() {
                    let color = match toast.tone {
                        Tone::Done => tokens.good,
                        Tone::Failed => tokens.bad,
                        Tone::Alert => tokens.warning,
                    };
                    let frame = Frame::new()
                        .fill(tokens.raised)
                        .stroke(Stroke::new(1.0, color))
                        .corner_radius(8)
                        .inner_margin(12);
                    frame.show(ui, |ui| {
                        ui.set_width(416.0);
                        let (text, close) = (
                            |ui: &mut Ui| ui.add(egui::Label::new(&toast.text).wrap()),
                            |ui: &mut Ui| ui.button("✕").on_hover_text("Close message").clicked(),
                        );
                        if egui::Sides::new().shrink_left().show(ui, text, close).1 {
                            closed = Some(index);
                        }
                    });
                }
            });
        if let Some(index) = closed {
            self.toasts.remove(index);
        }
    }
}

fn theme_of(theme: assay_protocol::Theme) -> Theme {
    match theme {
        assay_protocol::Theme::Dark => Theme::Dark,
        assay_protocol::Theme::Light => Theme::Light,
    }
}

fn logo_ui(ui: &mut Ui, tokens: Tokens) {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 36.0), Sense::hover());
    response.on_hover_text("Assay");
    let center = rect.center();
    // A flask: neck, body, and the level of what is in it.
    let stroke = Stroke::new(2.0, tokens.accent);
    let body =
        [pos2(-4.0, -13.0), pos2(-4.0, -4.0), pos2(-12.0, 11.0), pos2(12.0, 11.0), pos2(4.0, -4.0), pos2(4.0, -13.0)];
    let points: Vec<_> = body.iter().map(|point| center + point.to_vec2()).collect();
    ui.painter().add(egui::Shape::line(points, stroke));
    ui.painter().line_segment([center + vec2(-6.5, -13.0), center + vec2(6.5, -13.0)], stroke);
    ui.painter().line_segment([center + vec2(-8.5, 4.0), center + vec2(8.5, 4.0)], stroke);
    ui.painter().circle_filled(center + vec2(1.0, -1.5), 1.6, tokens.accent);
}

/// The sign of a place, drawn around `center`.
fn icon(painter: &egui::Painter, place: &str, center: egui::Pos2, color: egui::Color32) {
    let stroke = Stroke::new(1.6, color);
    let at = |x: f32, y: f32| center + vec2(x, y);
    let line = |points: &[(f32, f32)]| {
        painter.add(egui::Shape::line(points.iter().map(|(x, y)| at(*x, *y)).collect(), stroke));
    };
    match place {
        "Runs" => {
            line(&[(-9.0, -8.0), (-9.0, 8.0), (9.0, 8.0)]);
            line(&[(-6.0, -5.0), (-2.0, 2.0), (2.0, -1.0), (9.0, 4.0)]);
        }
        "Data" => {
            for (x, y) in [(-8.0, -8.0), (1.0, -8.0), (-8.0, 1.0), (1.0, 1.0)] {
                let rect = egui::Rect::from_min_size(at(x, y), vec2(7.0, 7.0));
                painter.rect_stroke(rect, 1.5, stroke, egui::StrokeKind::Inside);
            }
        }
        "Label" => {
            line(&[(-9.0, -6.0), (2.0, -6.0), (9.0, 0.0), (2.0, 6.0), (-9.0, 6.0), (-9.0, -6.0)]);
            painter.circle_filled(at(2.0, 0.0), 1.7, color);
        }
        "Review" => {
            painter.circle_stroke(at(-2.0, -2.0), 6.0, stroke);
            line(&[(2.6, 2.6), (8.0, 8.0)]);
        }
        _ => {
            line(&[(0.0, -9.0), (8.0, -4.5), (8.0, 4.5), (0.0, 9.0), (-8.0, 4.5), (-8.0, -4.5), (0.0, -9.0)]);
            line(&[(-8.0, -4.5), (0.0, 0.0), (8.0, -4.5)]);
            line(&[(0.0, 0.0), (0.0, 9.0)]);
        }
    }
}
