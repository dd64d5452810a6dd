//! Alerts and their rules.

use crate::arguments::AlertsCommand;
use crate::client::Client;
use crate::{out, tables};
use anyhow::Result;
use assay_protocol::domain::RuleId;
use assay_protocol::domain::alert::{AlertRule, Condition, Rule};
use assay_protocol::{About, AlertsReply, RulePatch, RunsQuery, RunsReply, path};

pub(crate) async fn alerts(client: &Client, what: Option<&AlertsCommand>, json: bool) -> Result<()> {
    match what {
        None => {
            let reply = client.get::<AlertsReply>(path::ALERTS).await?;
            tables::alerts(&reply, client.get::<About>(path::ABOUT).await?.now, json)
        }
        Some(AlertsCommand::Rules) => {
            tables::alert_rules(&client.get::<Vec<AlertRule>>(path::ALERT_RULES).await?, json)
        }
        Some(AlertsCommand::Add { condition, name, filter, webhook, quiet }) => {
            let rule = Rule {
                name: name.clone().unwrap_or_default(),
                filter: filter.clone(),
                webhook: webhook.clone(),
                desktop: !quiet,
                ..Rule::new(condition.join(" ").parse::<Condition>()?)
            };
            let rule: AlertRule = client.post(path::ALERT_RULES, &rule).await?;
            tell_unknown_names(client, &rule).await?;
            tables::alert_rules(&[rule], json)
        }
        Some(AlertsCommand::On { rule }) => put_in_force(client, *rule, true, json).await,
        Some(AlertsCommand::Off { rule }) => put_in_force(client, *rule, false, json).await,
        Some(AlertsCommand::Remove { rule }) => client.delete(&path::alert_rule(*rule, "")).await,
        Some(AlertsCommand::Test { rule }) => client.post(&path::alert_rule(*rule, "/test"), &()).await,
    }
}

/// Warns of names in a new rule that no run has yet.
async fn tell_unknown_names(client: &Client, rule: &AlertRule) -> Result<()> {
    let query = RunsQuery { filter: rule.rule.filter.clone(), limit: Some(0), ..RunsQuery::default() };
    let reply: RunsReply = client.get(&format!("{}{}", path::RUNS, query.to_query())).await?;
    let metric = rule.rule.condition.metric().map(|metric| format!("metrics.{metric}"));
    let metric = metric.and_then(|metric| reply.names().check(&metric).err()).map(|unknown| unknown.to_string());
    for note in reply.notes.iter().chain(&metric) {
        out::tell(format_args!("assay: as yet {note}"));
    }
    Ok(())
}

async fn put_in_force(client: &Client, rule: RuleId, enabled: bool, json: bool) -> Result<()> {
    let patch = RulePatch { enabled: Some(enabled), ..RulePatch::default() };
    tables::alert_rules(&[client.patch(&path::alert_rule(rule, ""), &patch).await?], json)
}
