//! The rules of alerts, and the alerts that they raised.
//!
//! An alert is raised in the transaction that made it true, so that none is lost and none is raised twice: a rule tells of
//! each occasion of a run once.

use super::{from_json, to_json};
use crate::{Reader, Result, StoreError, WriteTx};
use assay_domain::alert::{Alert, AlertRule, Delivery, DeliveryState, News, Rule, Sighting, Watched};
use assay_domain::entity::{Event, Run};
use assay_domain::{AlertId, RuleId, RunId, RunStatus, Timestamp};
use rusqlite::{OptionalExtension, Row, params};

/// An alert whose `due` is set waits for its webhook.
pub(crate) const TABLES: &str = "
CREATE TABLE alert_rules (id INTEGER PRIMARY KEY AUTOINCREMENT, created INTEGER NOT NULL, watched TEXT NOT NULL,
    enabled INTEGER NOT NULL, rule TEXT NOT NULL) STRICT;
CREATE TABLE alerts (
    id INTEGER PRIMARY KEY AUTOINCREMENT, rule INTEGER NOT NULL, rule_name TEXT NOT NULL, run INTEGER NOT NULL,
    occasion TEXT NOT NULL, at INTEGER NOT NULL, message TEXT NOT NULL, desktop INTEGER NOT NULL,
    seen INTEGER NOT NULL DEFAULT 0, webhook TEXT, due INTEGER, attempts INTEGER NOT NULL DEFAULT 0, error TEXT,
    UNIQUE (rule, run, occasion)
) STRICT;
CREATE INDEX alerts_by_run ON alerts (run);
CREATE INDEX alerts_due ON alerts (due) WHERE due IS NOT NULL;
CREATE INDEX alerts_unseen ON alerts (seen) WHERE NOT seen;
";

/// The first rule also matched finished runs: if unchanged, it no longer does, and its alerts of finished runs are
/// marked as seen.
pub(crate) const FAILURES_ONLY: &str = r#"
UPDATE alerts SET seen = 1 WHERE NOT seen AND message GLOB 'the run finished*' AND rule IN (SELECT id FROM alert_rules WHERE rule =
    '{"name":"A run ended","condition":{"when":"ended","statuses":["finished","failed","crashed"]},"filter":"","desktop":true,"webhook":null,"enabled":true}');
UPDATE alert_rules SET rule =
    '{"name":"A run failed","condition":{"when":"ended","statuses":["failed","crashed"]},"filter":"","desktop":true,"webhook":null,"enabled":true}'
    WHERE rule =
    '{"name":"A run ended","condition":{"when":"ended","statuses":["finished","failed","crashed"]},"filter":"","desktop":true,"webhook":null,"enabled":true}';
"#;

/// An alert whose webhook is to be posted.
#[derive(Clone, Debug)]
pub struct DueAlert {
    /// The alert.
    pub alert: Alert,
    /// The address.
    pub webhook: String,
    /// What no other alert of any workspace has.
    pub key: String,
    /// When it is to be posted.
    pub due: Timestamp,
}

impl WriteTx<'_> {
    /// Keeps a rule: a new one, or another in the place of one.
    pub fn put_rule(&mut self, id: Option<RuleId>, rule: &Rule) -> Result<RuleId> {
        let values =
            params![id.map(|id| id.0), rule.condition.watched().as_str(), rule.enabled, to_json("rule", rule)?];
        let id = match id {
            Some(id) => {
                let sql = "UPDATE alert_rules SET watched = ?2, enabled = ?3, rule = ?4 WHERE id = ?1";
                match self.db.execute(sql, values)? {
                    0 => return Err(StoreError::missing("rule", id)),
                    _ => id,
                }
            }
            None => {
                let created = self.now.0;
                let sql = format!(
                    "INSERT INTO alert_rules (id, created, watched, enabled, rule) VALUES (?1, {created}, ?2, ?3, ?4)"
                );
                self.db.execute(&sql, values)?;
                RuleId(self.db.last_insert_rowid())
            }
        };
        self.emit(&Event::AlertsChanged)?;
        Ok(id)
    }

    /// Keeps a rule where there never was one.
    pub fn put_first_rule(&mut self, rule: &Rule) -> Result<()> {
        let ever = "SELECT 1 FROM sqlite_sequence WHERE name = 'alert_rules'";
        if self.db.query_row(ever, [], |_| Ok(())).optional()?.is_none() {
            self.put_rule(None, rule)?;
        }
        Ok(())
    }

    /// Removes a rule; the alerts that it raised stay.
    pub fn remove_rule(&mut self, id: RuleId) -> Result<()> {
        match self.db.execute("DELETE FROM alert_rules WHERE id = ?1", [id.0])? {
            0 => Err(StoreError::missing("rule", id)),
            _ => self.emit(&Event::AlertsChanged),
        }
    }

    /// The rules in force that watch this.
    pub(super) fn rules_of(&self, watched: Watched) -> Result<Vec<AlertRule>> {
        self.reader().rules_in_force(watched)
    }

    /// Raises what rules say of new points.
    pub(super) fn watch_points(&mut self, rules: &[AlertRule], run: RunId, news: &News<'_>) -> Result<()> {
        for rule in rules {
            if let Some(sighting) = rule.rule.condition.seen_in(news) {
                let last = news.points.iter().map(|point| point.wall_ms).max();
                self.raise(rule, run, &sighting, Timestamp(last.unwrap_or(self.now.0)))?;
            }
        }
        Ok(())
    }

    /// Raises what rules say of the end of a run, which was at this time.
    pub(super) fn watch_end(
        &mut self,
        run: RunId,
        status: RunStatus,
        reason: Option<&str>,
        at: Timestamp,
    ) -> Result<()> {
        if !status.has_ended() {
            return Ok(());
        }
        for rule in self.rules_of(Watched::End)? {
            if let Some(sighting) = rule.rule.condition.ended_so(status, reason, at) {
                self.raise(&rule, run, &sighting, at)?;
            }
        }
        Ok(())
    }

    /// Raises an alert about what happened at a time, where the rule is for the run and has not told of it yet.
    pub fn raise(&mut self, rule: &AlertRule, run: RunId, sighting: &Sighting, happened: Timestamp) -> Result<()> {
        let of = params![rule.id.0, run.0, sighting.occasion];
        let told = "SELECT 1 FROM alerts WHERE rule = ?1 AND run = ?2 AND occasion = ?3";
        if self.db.prepare_cached(told)?.exists(of)? {
            return Ok(());
        }
        // What is read from files may be long past.
        let of_source = "SELECT 1 FROM source_runs WHERE run = ?1";
        if happened < rule.created && self.db.prepare_cached(of_source)?.exists([run.0])? {
            return Ok(());
        }
        let found: Run = self.reader().run(run, self.now)?;
        let is_for_it =
            rule.rule.filter.parse().is_ok_and(|filter| self.reader().is_asked_for(&found, filter).unwrap_or(false));
        if found.deleted.is_some() || !is_for_it {
            return Ok(());
        }
        let insert = "INSERT INTO alerts (rule, run, occasion, rule_name, at, message, desktop, webhook, due)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, CASE WHEN ?8 IS NULL THEN NULL ELSE ?5 END)";
        self.db.prepare_cached(insert)?.execute(params![
            rule.id.0,
            run.0,
            sighting.occasion,
            rule.rule.title(),
            self.now.0,
            sighting.message,
            rule.rule.desktop,
            rule.rule.webhook
        ])?;
        let alert = AlertId(self.db.last_insert_rowid());
        self.emit(&Event::AlertRaised { alert, run })
    }

    /// Someone has seen the alerts up to this one.
    pub fn see_alerts(&mut self, until: AlertId) -> Result<()> {
        match self.db.execute("UPDATE alerts SET seen = 1 WHERE NOT seen AND id <= ?1", [until.0])? {
            0 => Ok(()),
            _ => self.emit(&Event::AlertsChanged),
        }
    }

    /// The webhook of an alert was posted, and taken.
    pub fn webhook_was_taken(&mut self, alert: AlertId) -> Result<()> {
        let sql = "UPDATE alerts SET due = NULL, error = NULL, attempts = attempts + 1 WHERE id = ?1";
        self.db.execute(sql, [alert.0])?;
        self.emit(&Event::AlertsChanged)
    }

    /// It was not taken; it is tried again at this time, or never.
    pub fn webhook_was_not_taken(&mut self, alert: AlertId, error: &str, again: Option<Timestamp>) -> Result<()> {
        let sql = "UPDATE alerts SET due = ?2, error = ?3, attempts = attempts + 1 WHERE id = ?1";
        self.db.execute(sql, params![alert.0, again.map(|at| at.0), error])?;
        self.emit(&Event::AlertsChanged)
    }

    /// Nobody answers at this address: what waits for it waits until this time.
    pub fn put_off_webhooks(&mut self, address: &str, until: Timestamp) -> Result<()> {
        let sql = "UPDATE alerts SET due = max(due, ?2) WHERE due IS NOT NULL AND webhook = ?1";
        self.db.execute(sql, params![address, until.0])?;
        Ok(())
    }

    /// All webhooks that wait are tried at once: the network may be another one.
    pub fn try_webhooks_now(&mut self) -> Result<()> {
        self.db.execute("UPDATE alerts SET due = ?1 WHERE due > ?1", [self.now.0])?;
        Ok(())
    }
}

const ALERT: &str =
    "SELECT alerts.id, rule, rule_name, alerts.run, runs.name, at, message, desktop, seen, webhook, due,
    attempts, error, runs.uid, occasion FROM alerts JOIN runs ON runs.id = alerts.run";

fn alert_of(row: &Row<'_>) -> rusqlite::Result<Alert> {
    let webhook: Option<String> = row.get(9)?;
    let error: Option<String> = row.get(12)?;
    let state = match (row.get::<_, Option<i64>>(10)?, &error) {
        (Some(_), _) => DeliveryState::Waiting,
        (None, None) => DeliveryState::Delivered,
        (None, Some(_)) => DeliveryState::Failed,
    };
    Ok(Alert {
        id: AlertId(row.get(0)?),
        rule: RuleId(row.get(1)?),
        rule_name: row.get(2)?,
        run: RunId(row.get(3)?),
        run_name: row.get(4)?,
        at: Timestamp(row.get(5)?),
        message: row.get(6)?,
        desktop: row.get(7)?,
        seen: row.get(8)?,
        delivery: webhook.is_some().then_some(Delivery { state, attempts: row.get(11)?, error }),
    })
}

fn rule_of(row: &Row<'_>) -> rusqlite::Result<AlertRule> {
    Ok(AlertRule { id: RuleId(row.get(0)?), created: Timestamp(row.get(1)?), rule: from_json(row, 2)? })
}

impl Reader<'_> {
    /// All rules, the oldest first.
    pub fn rules(&self) -> Result<Vec<AlertRule>> {
        let mut statement = self.db.prepare_cached("SELECT id, created, rule FROM alert_rules ORDER BY id")?;
        Ok(statement.query_map([], rule_of)?.collect::<rusqlite::Result<_>>()?)
    }

    /// One rule.
    pub fn rule(&self, id: RuleId) -> Result<AlertRule> {
        let mut statement = self.db.prepare_cached("SELECT id, created, rule FROM alert_rules WHERE id = ?1")?;
        statement.query_row([id.0], rule_of).optional()?.ok_or_else(|| StoreError::missing("rule", id))
    }

    /// The rules in force that watch this.
    pub fn rules_in_force(&self, watched: Watched) -> Result<Vec<AlertRule>> {
        let mut statement =
            self.db.prepare_cached("SELECT id, created, rule FROM alert_rules WHERE watched = ?1 AND enabled")?;
        Ok(statement.query_map([watched.as_str()], rule_of)?.collect::<rusqlite::Result<_>>()?)
    }

    /// At most so many alerts, the latest first.
    pub fn alerts(&self, limit: usize) -> Result<Vec<Alert>> {
        let mut statement = self.db.prepare_cached(&format!("{ALERT} ORDER BY alerts.id DESC LIMIT ?1"))?;
        Ok(statement.query_map([limit as i64], alert_of)?.collect::<rusqlite::Result<_>>()?)
    }

    /// How many alerts nobody has seen.
    pub fn unseen_alerts(&self) -> Result<u64> {
        let count: i64 = self.db.query_row("SELECT count(*) FROM alerts WHERE NOT seen", [], |row| row.get(0))?;
        Ok(count as u64)
    }

    /// At most so many alerts whose webhooks wait, the next one first.
    pub fn due_alerts(&self, limit: usize) -> Result<Vec<DueAlert>> {
        let mut statement =
            self.db.prepare_cached(&format!("{ALERT} WHERE due IS NOT NULL ORDER BY due, alerts.id LIMIT ?1"))?;
        let due = |row: &Row<'_>| {
            let (uid, occasion): (String, String) = (row.get(13)?, row.get(14)?);
            let alert = alert_of(row)?;
            let key = format!("{uid}-{}-{}", alert.rule, occasion.replace(' ', "-"));
            Ok(DueAlert { alert, key, webhook: row.get(9)?, due: Timestamp(row.get(10)?) })
        };
        Ok(statement.query_map([limit as i64], due)?.collect::<rusqlite::Result<_>>()?)
    }

    /// Whether webhooks may have to be posted, or silence be noticed.
    pub fn alerts_need_time(&self) -> Result<bool> {
        let sql = "SELECT EXISTS (SELECT 1 FROM alerts WHERE due IS NOT NULL) OR EXISTS (SELECT 1 FROM alert_rules
                   WHERE enabled AND (watched = 'time' OR json_extract(rule, '$.webhook') IS NOT NULL))";
        Ok(self.db.prepare_cached(sql)?.query_row([], |row| row.get(0))?)
    }

    /// The running runs with when they were made, when they logged last, and how many points they have, of this metric or in all.
    pub fn running(&self, metric: Option<&str>) -> Result<Vec<(RunId, Timestamp, u64)>> {
        let mut statement = self.db.prepare_cached(
            "SELECT runs.id, max(created, coalesce(max(last_wall), 0)), coalesce(sum(count), 0)
             FROM runs LEFT JOIN series ON series.run = runs.id AND (?1 IS NULL OR key = ?1)
             WHERE status = 'running' AND deleted IS NULL GROUP BY runs.id",
        )?;
        let run = |row: &Row<'_>| Ok((RunId(row.get(0)?), Timestamp(row.get(1)?), row.get::<_, i64>(2)? as u64));
        Ok(statement.query_map([metric], run)?.collect::<rusqlite::Result<_>>()?)
    }
}
