//! Alerts and their rules.

use crate::arguments::AlertsCommand;
use crate::client::Client;
use crate::tables;
use anyhow::Result;
use assay_protocol::domain::RuleId;
use assay_protocol::domain::alert::{AlertRule, Condition, Rule};
use assay_protocol::{About, AlertsReply, RulePatch, path};

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
            tables::alert_rules(&[client.post::<AlertRule>(path::ALERT_RULES, &rule).await?], json)
        }
        Some(AlertsCommand::On { rule }) => put_in_force(client, *rule, true, json).await,
        Some(AlertsCommand::Off { rule }) => put_in_force(client, *rule, false, json).await,
        Some(AlertsCommand::Remove { rule }) => client.delete(&path::alert_rule(*rule, "")).await,
        Some(AlertsCommand::Test { rule }) => client.post(&path::alert_rule(*rule, "/test"), &()).await,
    }
}

async fn put_in_force(client: &Client, rule: RuleId, enabled: bool, json: bool) -> Result<()> {
    let patch = RulePatch { enabled: Some(enabled), ..RulePatch::default() };
    tables::alert_rules(&[client.patch(&path::alert_rule(rule, ""), &patch).await?], json)
}
