//! The queue of jobs; it survives a restart.

use super::{from_json, to_json, unknown_word};
use crate::{Reader, Result, StoreError, WriteTx};
use assay_domain::entity::{Event, Job, JobKind, Progress};
use assay_domain::{JobId, RunStatus, Timestamp};
use rusqlite::{OptionalExtension, Row, params};

pub(crate) const TABLES: &str = "
CREATE TABLE jobs (
    id INTEGER PRIMARY KEY AUTOINCREMENT, work TEXT NOT NULL, status TEXT NOT NULL, done INTEGER NOT NULL DEFAULT 0,
    total INTEGER NOT NULL DEFAULT 0, message TEXT NOT NULL DEFAULT '', created INTEGER NOT NULL, started INTEGER
) STRICT;
CREATE INDEX jobs_by_status ON jobs (status, id);
";

impl WriteTx<'_> {
    /// Appends a job to the queue.
    pub fn queue_job(&mut self, work: &JobKind) -> Result<JobId> {
        self.db.execute(
            "INSERT INTO jobs (work, status, created) VALUES (?1, 'queued', ?2)",
            params![to_json("job", work)?, self.now.0],
        )?;
        let job = JobId(self.db.last_insert_rowid());
        self.emit(&Event::JobChanged { job })?;
        Ok(job)
    }

    /// The job begins, goes on or ends.
    pub fn update_job(&mut self, job: JobId, status: RunStatus, progress: Progress, message: &str) -> Result<()> {
        let changed = self
            .db
            .prepare_cached(
                "UPDATE jobs SET status = ?2, done = ?3, total = ?4, message = ?5,
             started = CASE WHEN ?2 = 'running' THEN coalesce(started, ?6) ELSE started END WHERE id = ?1",
            )?
            .execute(params![
                job.0,
                status.as_str(),
                progress.done as i64,
                progress.total as i64,
                message,
                self.now.0
            ])?;
        match changed {
            0 => Err(StoreError::missing("job", job)),
            _ => self.emit(&Event::JobChanged { job }),
        }
    }

    /// Ends what an earlier process left running.
    pub fn crash_abandoned_jobs(&mut self) -> Result<()> {
        self.db.execute(
            "UPDATE jobs SET status = 'crashed', message = 'its process ended without a word' WHERE status = 'running'",
            [],
        )?;
        Ok(())
    }
}

fn job_of(row: &Row<'_>) -> rusqlite::Result<Job> {
    let word: String = row.get(2)?;
    Ok(Job {
        id: JobId(row.get(0)?),
        work: from_json(row, 1)?,
        status: RunStatus::parse(&word).ok_or_else(|| unknown_word(2, &word))?,
        progress: Progress { done: row.get::<_, i64>(3)? as u64, total: row.get::<_, i64>(4)? as u64 },
        message: row.get(5)?,
        created: Timestamp(row.get(6)?),
        started: row.get::<_, Option<i64>>(7)?.map(Timestamp),
    })
}

const COLUMNS: &str = "id, work, status, done, total, message, created, started FROM jobs";

impl Reader<'_> {
    /// One job.
    pub fn job(&self, job: JobId) -> Result<Job> {
        let sql = format!("SELECT {COLUMNS} WHERE id = ?1");
        let found = self.db.prepare_cached(&sql)?.query_row([job.0], job_of).optional()?;
        found.ok_or_else(|| StoreError::missing("job", job))
    }

    /// The jobs that wait or run, oldest first, then at most `ended` of those that have ended, newest first.
    pub fn jobs(&self, ended: usize) -> Result<Vec<Job>> {
        let list = |condition: &str, limit: i64| -> Result<Vec<Job>> {
            let mut statement = self.db.prepare_cached(&format!("SELECT {COLUMNS} WHERE {condition} LIMIT ?1"))?;
            let rows = statement.query_map([limit], job_of)?;
            Ok(rows.collect::<rusqlite::Result<_>>()?)
        };
        let mut jobs = list("status IN ('queued', 'running') ORDER BY id", -1)?;
        jobs.extend(list("status NOT IN ('queued', 'running') ORDER BY id DESC", ended as i64)?);
        Ok(jobs)
    }
}
