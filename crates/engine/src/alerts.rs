//! Alerts and their rules. The store raises alerts; what time alone brings about, and webhooks, are the alarm's.

use crate::{Engine, EngineError, Result};
use assay_domain::alert::{AlertRule, Condition, Rule};
use assay_domain::{AlertId, Filter, RuleId, RunStatus};
use assay_protocol::{AlertsReply, RulePatch};

/// Alerts that are listed.
const LISTED: usize = 200;

/// Rules hold at most so many letters.
const LETTERS: usize = 2_000;

/// The rule of a new workspace. Finished runs raise no alert: a client may log sixty in a night.
pub(crate) fn first_rule() -> Rule {
    let statuses = vec![RunStatus::Failed, RunStatus::Crashed];
    Rule { name: "A run failed".into(), ..Rule::new(Condition::Ended { statuses }) }
}

impl Engine {
    /// The latest alerts.
    pub fn alerts(&self) -> Result<AlertsReply> {
        Ok(self
            .store
            .read(|reader| Ok(AlertsReply { alerts: reader.alerts(LISTED)?, unseen: reader.unseen_alerts()? }))?)
    }

    /// Someone has seen the alerts up to this one.
    pub fn see_alerts(&self, until: AlertId) -> Result<()> {
        Ok(self.store.write(move |tx| tx.see_alerts(until))?)
    }

    /// The rules, the oldest first.
    pub fn alert_rules(&self) -> Result<Vec<AlertRule>> {
        Ok(self.store.read(|reader| reader.rules())?)
    }

    /// Makes a rule.
    pub fn make_rule(&self, rule: Rule) -> Result<AlertRule> {
        self.put_rule(None, rule)
    }

    /// Changes a rule.
    pub fn change_rule(&self, id: RuleId, patch: RulePatch) -> Result<AlertRule> {
        let old = self.store.read(|reader| reader.rule(id))?.rule;
        let rule = Rule {
            name: patch.name.unwrap_or(old.name),
            condition: patch.condition.unwrap_or(old.condition),
            filter: patch.filter.unwrap_or(old.filter),
            desktop: patch.desktop.unwrap_or(old.desktop),
            webhook: patch.webhook.or(old.webhook),
            enabled: patch.enabled.unwrap_or(old.enabled),
        };
        self.put_rule(Some(id), rule)
    }

    fn put_rule(&self, id: Option<RuleId>, rule: Rule) -> Result<AlertRule> {
        let webhook = rule.webhook.map(|address| address.trim().to_owned()).filter(|address| !address.is_empty());
        let rule = Rule { webhook, ..rule };
        check(&rule)?;
        let id = self.store.write(move |tx| tx.put_rule(id, &rule))?;
        self.alarm.look();
        Ok(self.store.read(|reader| reader.rule(id))?)
    }

    /// Removes a rule; the alerts that it raised stay.
    pub fn remove_rule(&self, id: RuleId) -> Result<()> {
        Ok(self.store.write(move |tx| tx.remove_rule(id))?)
    }

    /// Posts an alert that nothing happened to the webhook of a rule.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] when it has none, or the receiver does not take it, with what it said.
    pub fn test_rule(&self, id: RuleId) -> Result<()> {
        let rule = self.store.read(|reader| reader.rule(id))?;
        let Some(webhook) = &rule.rule.webhook else {
            return Err(EngineError::Invalid(format!("rule {id} has no webhook: give it one first")));
        };
        let posted = self.alarm.post_test(webhook, &rule.rule, (self.clock)(), &(self.uid)());
        posted.map_err(|refusal| EngineError::Invalid(format!("the webhook did not take it: {refusal}")))
    }
}

fn check(rule: &Rule) -> Result<()> {
    let invalid = |why: String| Err(EngineError::Invalid(why));
    if let Some(fault) = rule.condition.fault() {
        return invalid(fault.to_owned());
    }
    if let Err(error) = rule.filter.parse::<Filter>() {
        return invalid(format!("the filter of the rule: {error}"));
    }
    let texts = [&rule.name, &rule.filter, &rule.condition.to_string(), rule.webhook.as_ref().unwrap_or(&rule.name)];
    if texts.iter().any(|text| text.len() > LETTERS) {
        return invalid(format!("a name, a condition, a filter or an address has at most {LETTERS} letters"));
    }
    match &rule.webhook {
        Some(address) if !crate::alarm::is_address(address) => {
            invalid(format!("{address:?} is no address: write it as https://host/path"))
        }
        _ => Ok(()),
    }
}
