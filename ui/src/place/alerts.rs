//! The alerts that runs raised, and the rules that raise them.

use super::Cx;
use crate::api::Then;
use crate::command::Command;
use crate::elided::shortened;
use crate::route::Route;
use crate::tokens::{GRID, ROW, strong};
use crate::transport::Method;
use crate::widgets::{badge_ui, card_ui, entered, modal, primary_button, remote_ui};
use assay_domain::alert::{Alert, AlertRule, Better, Condition, DeliveryState, Rule};
use assay_domain::{RuleId, RunStatus, Timestamp, duration};
use assay_protocol::{About, AlertsReply, ErrorBody, RulePatch, RunsQuery, RunsReply, SeenRequest, path};
use egui::{Align, ComboBox, Context, Layout, RichText, ScrollArea, Sense, TextEdit, Ui, vec2};
use egui_extras::{Column, TableBuilder};
use std::sync::Arc;

/// Metrics that are offered while one is typed.
const OFFERED: usize = 6;
/// Letters of a line of them.
const LINE: usize = 56;

#[derive(Default)]
pub(crate) struct Alerts {
    form: Option<Form>,
    /// The rule that was removed last.
    removed: Option<Rule>,
    /// The server's time, and that of the interface when it came.
    clock: Option<(Arc<About>, f64)>,
    /// What was new when the place was opened, and since.
    news: Vec<assay_domain::AlertId>,
}

impl Alerts {
    pub(crate) fn alerts_ui(&mut self, ui: &mut Ui, cx: &mut Cx<'_>) {
        if cx.asked_for(Command::Back) {
            *cx.route = Route::Runs;
        }
        ui.horizontal(|ui| {
            ui.heading("Alerts");
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                if primary_button(ui, "New rule…").clicked() {
                    self.form = Some(Form::default());
                }
            });
        });
        ui.add_space(2.0 * GRID);
        let api = cx.api.clone();
        let rules = cx.api.get::<Vec<AlertRule>>(path::ALERT_RULES);
        remote_ui(ui, &api, path::ALERT_RULES, rules, |ui, rules| self.rules_ui(ui, cx, rules));
        ui.add_space(3.0 * GRID);
        ui.label(RichText::new("What happened").font(strong(13.0)));
        ui.add_space(GRID);
        let alerts = cx.api.get::<AlertsReply>(path::ALERTS);
        if let Some(reply) = alerts.value.as_ref().filter(|reply| reply.unseen > 0)
            && let Some(latest) = reply.alerts.first()
        {
            self.news.extend(reply.alerts.iter().filter(|alert| !alert.seen).map(|alert| alert.id));
            cx.api.act(Method::Post, path::ALERTS_SEEN, &SeenRequest { until: latest.id }, Then::Nothing);
        }
        let now = self.now(ui.ctx(), cx);
        remote_ui(ui, &api, path::ALERTS, alerts, |ui, reply| self.list_ui(ui, cx, &reply.alerts, now));
    }

    /// The place was left: what was new is so no more.
    pub(crate) fn leave(&mut self) {
        self.news.clear();
        self.removed = None;
    }

    fn now(&mut self, ctx: &Context, cx: &Cx<'_>) -> Timestamp {
        let time = ctx.input(|input| input.time);
        let Some(about) = cx.api.get::<About>(path::ABOUT).value else { return Timestamp(0) };
        if !self.clock.as_ref().is_some_and(|(of, _)| Arc::ptr_eq(of, &about)) {
            self.clock = Some((about.clone(), time));
        }
        let since = self.clock.as_ref().map_or(0.0, |(_, then)| time - then);
        Timestamp(about.now.0 + (since * 1000.0) as i64)
    }

    fn rules_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>, rules: &[AlertRule]) {
        let tokens = cx.tokens;
        card_ui(ui, |ui| {
            ui.set_min_width(ui.available_width());
            if rules.is_empty() {
                ui.label(RichText::new("No rule watches the runs. Make one with New rule…").color(tokens.weak));
            }
            let rows = ScrollArea::vertical().id_salt("rules").max_height(ui.available_height() * 0.4);
            rows.show(ui, |ui| {
                for rule in rules {
                    ui.horizontal(|ui| self.rule_ui(ui, cx, rule));
                }
            });
            if let Some(rule) = self.removed.clone() {
                ui.horizontal(|ui| {
                    ui.label(RichText::new(format!("Removed {}", rule.title())).color(tokens.weak));
                    if ui.button("Undo").on_hover_text("Bring the rule back").clicked() {
                        cx.api.act(Method::Post, path::ALERT_RULES, &rule, Then::Nothing);
                        self.removed = None;
                    }
                });
            }
        });
    }

    fn rule_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>, kept: &AlertRule) {
        let AlertRule { id, rule, .. } = kept;
        let title = rule.title();
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let of_it = |what: &str| format!("{what} {title}");
            if ui.button("Remove").on_hover_text(of_it("Remove")).clicked() {
                cx.api.act(Method::Delete, &path::alert_rule(*id, ""), &(), Then::Nothing);
                self.removed = Some(rule.clone());
            }
            if ui.button("Edit…").on_hover_text(of_it("Edit")).clicked() {
                self.form = Some(Form::of(*id, rule));
            }
            if rule.webhook.is_some() && ui.button("Test").on_hover_text("Post a test to its webhook").clicked() {
                let then = Then::Say("The receiver took the test".into());
                cx.api.act(Method::Post, &path::alert_rule(*id, "/test"), &(), then);
            }
            // What is left of the line is the rule's.
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| says_ui(ui, cx, kept));
        });
    }

    fn list_ui(&self, ui: &mut Ui, cx: &mut Cx<'_>, alerts: &[Alert], now: Timestamp) {
        let tokens = cx.tokens;
        if alerts.is_empty() {
            ui.label(RichText::new("Nothing yet: what the rules watch for will be listed here.").color(tokens.weak));
            return;
        }
        let table = TableBuilder::new(ui)
            .id_salt("alerts")
            .striped(false)
            .cell_layout(Layout::left_to_right(Align::Center))
            .column(Column::exact(16.0))
            .column(Column::exact(96.0))
            .column(Column::initial(150.0).at_least(90.0).clip(true))
            .column(Column::remainder().at_least(120.0).clip(true))
            .column(Column::initial(150.0).at_least(90.0).clip(true))
            .column(Column::initial(84.0).at_least(84.0).clip(true))
            .auto_shrink([false, false]);
        let heads = ["", "When", "Run", "What", "Rule", "Webhook"];
        let table = table.header(26.0, |mut header| {
            for text in heads {
                header.col(|ui| drop(ui.label(RichText::new(text).color(tokens.weak))));
            }
        });
        table.body(|body| {
            body.rows(ROW, alerts.len(), |mut row| {
                let alert = &alerts[row.index()];
                let is_new = self.news.contains(&alert.id);
                row.col(|ui| {
                    let (rect, dot) = ui.allocate_exact_size(vec2(8.0, 8.0), Sense::hover());
                    if is_new {
                        ui.painter().circle_filled(rect.center(), 4.0, tokens.warning);
                        dot.on_hover_text("New");
                    }
                });
                row.col(|ui| {
                    let ago = now.seconds_since(alert.at).max(0.0);
                    ui.label(RichText::new(format!("{} ago", duration(ago))).color(tokens.weak));
                });
                row.col(|ui| {
                    let name = RichText::new(format!("{} #{}", alert.run_name, alert.run)).color(tokens.text);
                    if ui.link(name).clicked() {
                        *cx.route = Route::Run(alert.run);
                    }
                });
                row.col(|ui| {
                    let text = RichText::new(&alert.message);
                    ui.label(if is_new { text.font(strong(13.0)) } else { text }).on_hover_text(&alert.message);
                });
                row.col(|ui| drop(ui.label(RichText::new(&alert.rule_name).color(tokens.weak))));
                row.col(|ui| {
                    let Some(delivery) = &alert.delivery else { return };
                    let (text, color) = match delivery.state {
                        DeliveryState::Delivered => ("delivered", tokens.good),
                        DeliveryState::Waiting if delivery.attempts > 0 => ("trying again", tokens.warning),
                        DeliveryState::Waiting => ("waiting", tokens.weak),
                        DeliveryState::Failed => ("failed", tokens.bad),
                    };
                    let label = ui.label(RichText::new(text).color(color));
                    if let Some(error) = &delivery.error {
                        label.on_hover_text(format!("{error}\n{} attempts", delivery.attempts));
                    }
                });
            });
        });
    }

    pub(crate) fn kept(&mut self) {
        self.form = None;
    }

    pub(crate) fn refused(&mut self, error: &ErrorBody) {
        if let Some(form) = &mut self.form {
            form.error = Some(error.message.clone());
        }
    }

    pub(crate) fn form_ui(&mut self, ctx: &Context, cx: &Cx<'_>) {
        let Some(form) = &mut self.form else { return };
        let dialog = modal(ctx, "rule").show(ctx, |ui| form.ui(ui, cx));
        if dialog.inner || dialog.should_close() {
            self.form = None;
        }
    }
}

/// What a rule says, as far as there is room.
fn says_ui(ui: &mut Ui, cx: &Cx<'_>, AlertRule { id, rule, .. }: &AlertRule) {
    let tokens = cx.tokens;
    ui.set_clip_rect(ui.max_rect().intersect(ui.clip_rect()));
    let title = rule.title();
    let mut enabled = rule.enabled;
    let boxed = ui.checkbox(&mut enabled, "").accessible_name(format!("{title} is in force"));
    if boxed.on_hover_text("In force").changed() {
        let patch = RulePatch { enabled: Some(enabled), ..RulePatch::default() };
        cx.api.act(Method::Patch, &path::alert_rule(*id, ""), &patch, Then::Nothing);
    }
    let color = if rule.enabled { tokens.text } else { tokens.weak };
    ui.label(RichText::new(&title).font(strong(13.0)).color(color));
    if !rule.name.trim().is_empty() {
        ui.label(RichText::new(rule.condition.to_string()).color(tokens.weak));
    }
    if !rule.filter.is_empty() {
        ui.label(RichText::new(format!("in runs {}", rule.filter)).color(tokens.weak));
    }
    if rule.desktop {
        badge_ui(ui, "notification", tokens.weak);
    }
    if let Some(address) = &rule.webhook {
        badge_ui(ui, &format!("webhook {}", host(address)), tokens.weak);
    }
}

fn host(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or(rest)
}

/// What a rule may watch for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Above,
    Below,
    NotFinite,
    NoImprovement,
    Silent,
    Ended,
}

impl Kind {
    const ALL: [Kind; 6] = [Kind::Above, Kind::Below, Kind::NotFinite, Kind::NoImprovement, Kind::Silent, Kind::Ended];

    fn name(self) -> &'static str {
        match self {
            Kind::Above => "A metric is above a threshold",
            Kind::Below => "A metric is below a threshold",
            Kind::NotFinite => "A metric is NaN or infinite",
            Kind::NoImprovement => "A metric does not improve",
            Kind::Silent => "No point comes any more",
            Kind::Ended => "A run ends",
        }
    }

    /// Whether it may be about any metric.
    fn may_be_any(self) -> bool {
        matches!(self, Kind::NotFinite | Kind::Silent)
    }
}

/// The form of a rule.
struct Form {
    id: Option<RuleId>,
    kind: Kind,
    metric: String,
    number: String,
    better: Better,
    statuses: Vec<RunStatus>,
    name: String,
    filter: String,
    desktop: bool,
    webhook: String,
    enabled: bool,
    error: Option<String>,
    /// Whether the first field had the keys already.
    focused: bool,
}

impl Default for Form {
    fn default() -> Form {
        Form {
            id: None,
            kind: Kind::NoImprovement,
            metric: String::new(),
            number: String::new(),
            better: Better::Lower,
            statuses: vec![RunStatus::Finished, RunStatus::Failed, RunStatus::Crashed],
            name: String::new(),
            filter: String::new(),
            desktop: true,
            webhook: String::new(),
            enabled: true,
            error: None,
            focused: false,
        }
    }
}

impl Form {
    fn of(id: RuleId, rule: &Rule) -> Form {
        let form = Form {
            id: Some(id),
            name: rule.name.clone(),
            filter: rule.filter.clone(),
            desktop: rule.desktop,
            webhook: rule.webhook.clone().unwrap_or_default(),
            enabled: rule.enabled,
            ..Form::default()
        };
        let with = |kind, metric: &str, number: String| Form { kind, metric: metric.to_owned(), number, ..form };
        match &rule.condition {
            Condition::Above { metric, value } => with(Kind::Above, metric, value.to_string()),
            Condition::Below { metric, value } => with(Kind::Below, metric, value.to_string()),
            Condition::NotFinite { metric } => {
                with(Kind::NotFinite, metric.as_deref().unwrap_or_default(), String::new())
            }
            Condition::NoImprovement { metric, better, steps } => {
                Form { better: *better, ..with(Kind::NoImprovement, metric, steps.to_string()) }
            }
            Condition::Silent { metric, secs } => {
                with(Kind::Silent, metric.as_deref().unwrap_or_default(), secs.to_string())
            }
            Condition::Ended { statuses } => {
                Form { statuses: statuses.clone(), ..with(Kind::Ended, "", String::new()) }
            }
        }
    }

    fn rule(&self) -> Result<Rule, String> {
        let metric = self.metric.trim().to_owned();
        let any = Some(metric.clone()).filter(|metric| !metric.is_empty());
        let number = |what: &str| self.number.trim().parse::<f64>().map_err(|_| format!("{what} is a number"));
        let count = |what: &str| self.number.trim().parse::<u64>().map_err(|_| format!("{what} is a whole number"));
        let condition = match self.kind {
            Kind::Above => Condition::Above { metric, value: number("the threshold")? },
            Kind::Below => Condition::Below { metric, value: number("the threshold")? },
            Kind::NotFinite => Condition::NotFinite { metric: any },
            Kind::NoImprovement => {
                Condition::NoImprovement { metric, better: self.better, steps: count("the number of steps")? }
            }
            Kind::Silent => Condition::Silent { metric: any, secs: count("the number of seconds")? },
            Kind::Ended => Condition::Ended { statuses: self.statuses.clone() },
        };
        if let Some(fault) = condition.fault() {
            return Err(fault.to_owned());
        }
        Ok(Rule {
            name: self.name.trim().to_owned(),
            condition,
            filter: self.filter.trim().to_owned(),
            desktop: self.desktop,
            webhook: Some(self.webhook.trim().to_owned()).filter(|address| !address.is_empty()),
            enabled: self.enabled,
        })
    }

    /// Draws the form; returns whether it is to be closed.
    fn ui(&mut self, ui: &mut Ui, cx: &Cx<'_>) -> bool {
        ui.set_width(520.0);
        ui.heading(if self.id.is_some() { "Rule" } else { "New rule" });
        ui.add_space(2.0 * GRID);
        let was_entered = self.fields_ui(ui, cx);
        if let Some(error) = &self.error {
            ui.add_space(GRID);
            ui.label(RichText::new(error).color(cx.tokens.bad));
        }
        ui.add_space(2.0 * GRID);
        let mut close = false;
        ui.horizontal(|ui| {
            if primary_button(ui, "Keep rule").clicked() || was_entered {
                self.keep(cx);
            }
            close = ui.button("Cancel").clicked();
        });
        close
    }

    fn keep(&mut self, cx: &Cx<'_>) {
        match self.rule() {
            Err(fault) => self.error = Some(fault),
            Ok(rule) => match self.id {
                None => cx.api.act(Method::Post, path::ALERT_RULES, &rule, Then::KeepRule),
                Some(id) => {
                    let patch = RulePatch {
                        name: Some(rule.name),
                        condition: Some(rule.condition),
                        filter: Some(rule.filter),
                        desktop: Some(rule.desktop),
                        webhook: Some(rule.webhook.unwrap_or_default()),
                        enabled: Some(rule.enabled),
                    };
                    cx.api.act(Method::Patch, &path::alert_rule(id, ""), &patch, Then::KeepRule);
                }
            },
        }
    }

    /// Draws the fields; returns whether Return was pressed in one.
    fn fields_ui(&mut self, ui: &mut Ui, cx: &Cx<'_>) -> bool {
        let mut was_entered = false;
        let mut text = |ui: &mut Ui, value: &mut String, name: &str, hint: &str, width: f32| {
            let field = ui.add(TextEdit::singleline(value).hint_text(hint).desired_width(width));
            let field = field.accessible_name(name);
            was_entered |= entered(&field);
            field
        };
        egui::Grid::new("rule").num_columns(2).spacing([16.0, 8.0]).min_col_width(88.0).show(ui, |ui| {
            ui.label("When");
            let list = ComboBox::from_id_salt("when").selected_text(self.kind.name()).width(300.0);
            let shown = list.show_ui(ui, |ui| {
                for kind in Kind::ALL {
                    ui.selectable_value(&mut self.kind, kind, kind.name());
                }
            });
            shown.response.accessible_name("When");
            ui.end_row();
            if self.kind == Kind::Ended {
                ui.label("As");
                ui.horizontal(|ui| ends_ui(ui, &mut self.statuses));
                ui.end_row();
            } else {
                ui.label("Metric");
                let hint = if self.kind.may_be_any() { "any metric" } else { "val/loss" };
                let field = text(ui, &mut self.metric, "Metric", hint, 300.0);
                if !std::mem::replace(&mut self.focused, true) {
                    field.request_focus();
                }
                ui.end_row();
                ui.label("");
                metrics_ui(ui, cx, &mut self.metric);
                ui.end_row();
            }
            match self.kind {
                Kind::Above | Kind::Below => {
                    ui.label("Threshold");
                    text(ui, &mut self.number, "Threshold", "0.5", 120.0);
                    ui.end_row();
                }
                Kind::NoImprovement => {
                    ui.label("Better is");
                    ui.horizontal(|ui| {
                        ui.radio_value(&mut self.better, Better::Lower, "lower");
                        ui.radio_value(&mut self.better, Better::Higher, "higher");
                    });
                    ui.end_row();
                    ui.label("For");
                    ui.horizontal(|ui| {
                        text(ui, &mut self.number, "Steps", "1000", 120.0);
                        ui.label(RichText::new("steps since its best value").color(cx.tokens.weak));
                    });
                    ui.end_row();
                }
                Kind::Silent => {
                    ui.label("For");
                    ui.horizontal(|ui| {
                        text(ui, &mut self.number, "Seconds", "300", 120.0);
                        ui.label(RichText::new("seconds of a running run").color(cx.tokens.weak));
                    });
                    ui.end_row();
                }
                Kind::NotFinite | Kind::Ended => {}
            }
            ui.label("In runs");
            text(ui, &mut self.filter, "In runs", "all; or a filter, as experiment:night lr>=1e-3", 300.0);
            ui.end_row();
            ui.label("Name");
            text(ui, &mut self.name, "Name", "taken from the above", 300.0);
            ui.end_row();
            ui.label("Tell");
            ui.checkbox(&mut self.desktop, "with a notification beside the window");
            ui.end_row();
            ui.label("Webhook");
            text(ui, &mut self.webhook, "Webhook", "https://… is sent each alert as JSON", 300.0);
            ui.end_row();
        });
        was_entered
    }
}

fn ends_ui(ui: &mut Ui, statuses: &mut Vec<RunStatus>) {
    for status in RunStatus::ALL.into_iter().filter(|status| status.has_ended()) {
        let mut on = statuses.contains(&status);
        if ui.checkbox(&mut on, status.as_str()).changed() {
            statuses.retain(|known| *known != status);
            statuses.extend(on.then_some(status));
        }
    }
}

/// Known metrics that what is typed may become.
fn metrics_ui(ui: &mut Ui, cx: &Cx<'_>, metric: &mut String) {
    let query = RunsQuery { limit: Some(1), ..RunsQuery::default() };
    let runs = cx.api.get::<RunsReply>(&format!("{}{}", path::RUNS, query.to_query())).value;
    let Some(runs) = runs else { return };
    let wanted = metric.to_lowercase();
    let may_be = |key: &&String| **key != *metric && key.to_lowercase().contains(&wanted);
    let offered: Vec<&String> = runs.metric_keys.iter().filter(may_be).take(OFFERED).collect();
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = GRID;
        let mut letters = 0;
        for key in offered {
            let shown = shortened(key, LINE - 4);
            letters += shown.chars().count() + 4;
            if letters > LINE {
                break;
            }
            let button = ui.small_button(RichText::new(&shown).color(cx.tokens.weak)).accessible_name(key);
            if button.on_hover_text(key).clicked() {
                *metric = key.clone();
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_the_same_after_it_was_opened_in_the_form() {
        for text in [
            "loss above 2.5",
            "loss below 0.5",
            "any metric not finite",
            "loss not higher for 20 steps",
            "silent for 60 s",
            "loss silent for 60 s",
            "ended crashed",
        ] {
            let rule = Rule {
                name: "mine".into(),
                filter: "lr>1".into(),
                webhook: Some("http://here".into()),
                ..Rule::new(text.parse().expect("a condition"))
            };
            assert_eq!(Form::of(RuleId(1), &rule).rule(), Ok(rule));
        }
    }

    #[test]
    fn the_form_says_what_is_missing() {
        let form = Form { number: "5".into(), ..Form::default() };
        assert!(form.rule().is_err_and(|why| why.contains("metric")));
        let form = Form { metric: "loss".into(), number: "many".into(), ..Form::default() };
        assert!(form.rule().is_err_and(|why| why.contains("steps")));
    }

    #[test]
    fn of_an_address_the_host_is_shown() {
        assert_eq!(host("https://hooks.example.com/services/secret"), "hooks.example.com");
    }
}
