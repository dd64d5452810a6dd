//! Acceptance of a model.

use crate::client::write_whole;
use crate::out;
use anyhow::Result;
use assay_protocol::Verdict;
use std::path::Path;
use std::process::ExitCode;

/// Checks an exported model, without a workspace.
pub(crate) fn folder(model: &Path, spec: &Path, junit: Option<&Path>, json: bool) -> Result<ExitCode> {
    tell(assay_engine::check_model(model, spec)?, junit, json)
}

/// Prints verdicts and writes the report; whether all were met is the exit code.
pub(crate) fn tell(verdicts: Vec<Verdict>, junit: Option<&Path>, json: bool) -> Result<ExitCode> {
    if let Some(file) = junit {
        write_whole(file, assay_engine::junit(&verdicts).as_bytes())?;
    }
    if json {
        out::json(&verdicts)?;
    } else {
        for Verdict { name, passed, text, .. } in &verdicts {
            out::line(format_args!("{}  {name}: {text}", if *passed { "ok    " } else { "FAILED" }))?;
        }
    }
    let failed: Vec<&str> = verdicts.iter().filter(|verdict| !verdict.passed).map(|v| v.name.as_str()).collect();
    if failed.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    out::tell(format_args!("assay: {} of {} demands are not met: {}", failed.len(), verdicts.len(), failed.join(", ")));
    Ok(ExitCode::FAILURE)
}
