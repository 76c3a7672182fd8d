//! What is wrong with the storage, and what to do.

use verk_core::{doctor::Severity, manage::AuditEntry};

use super::Session;
use crate::{
    args::Consent,
    confirm::agree,
    failure::{Exit, Failure},
    text::{self, clean},
};

impl Session<'_> {
    pub(crate) async fn doctor(
        &mut self,
        max_jobs: usize,
        convert: bool,
        consent: &Consent,
    ) -> Result<Exit, Failure> {
        let doctor = self.admin.doctor().max_jobs(max_jobs);
        if convert && !consent.dry_run {
            let address = clean(&self.admin.address());
            let question = format!("Convert all string arguments at {address} to arrays?");
            agree(self.output, consent, &question)?;
            self.output.begins_change();
            let conversion = doctor.convert_string_args().await?;
            let record = AuditEntry::new("convert").count(conversion.converted as u64);
            self.record(record).await;
            self.output.note(&conversion.to_string())?;
        }
        let report = doctor.examine().await?;
        if self.output.is_json() {
            self.output.json(&report)?;
        } else {
            for finding in &report.findings {
                let line = format!("{}: {}", finding.severity(), clean(&finding.to_string()));
                self.output.line(&line)?;
            }
            let examined = text::jobs(report.jobs);
            let all = if report.complete {
                ""
            } else {
                ", not all: see --max-jobs"
            };
            self.output.note(&match report.findings.len() {
                0 => format!("nothing is wrong; examined {examined}{all}"),
                1 => format!("1 finding; examined {examined}{all}"),
                findings => format!("{findings} findings; examined {examined}{all}"),
            })?;
        }
        Ok(match report.worst() {
            Some(Severity::Error) => Exit::ERRORS,
            Some(Severity::Warning) => Exit::NOTHING,
            Some(Severity::Notice) | None => Exit::DONE,
        })
    }
}
