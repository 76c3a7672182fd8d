//! Why a job does not run.

use verk_core::manage::{Found, JobRef, Why};
use verk_web::values::WhyValue;

use super::Session;
use crate::{
    args::OneArgs,
    failure::{Exit, Failure},
    locate::locate,
    output::{Cell, Table},
    progress::Work,
    text::clean,
};

impl Session<'_> {
    pub(crate) async fn why(&mut self, args: &OneArgs) -> Result<Exit, Failure> {
        let mut job = JobRef::new(args.jid.clone());
        // Where it was seen, it is found in one step; anywhere else, in many.
        if args.place.is_some() || args.jid.contains('-') {
            let found = locate(self.admin, &args.jid, args.place.as_ref()).await;
            match found {
                Ok(Found::Waiting(entry)) => job = JobRef::of(&entry).unwrap_or(job),
                Ok(_) | Err(Failure::NotFound(_)) => {}
                Err(failure) => return Err(failure),
            }
        }
        let work = Work::begin(self.output, "searching", 0);
        let known = loop {
            match self.admin.why(&job).await? {
                Why::Known(known) => break known,
                Why::Searching {
                    looked_at,
                    of,
                    next,
                } => {
                    work.examined_of(looked_at, of);
                    job = next;
                }
            }
            if work.is_interrupted() {
                return Err(Failure::Interrupted(
                    "stopped before the job was found".to_owned(),
                ));
            }
        };
        drop(work);
        let is_there = known.class.is_some();
        if self.output.is_json() {
            self.output.json(&WhyValue::new(&Why::Known(known)))?;
        } else {
            let mut fields = Table::of_fields();
            fields.field("Job", Cell::new(known.jid.as_str()));
            fields.field("Class", Cell::or_none(known.class.as_deref()));
            fields.field("Place", Cell::new(known.place.to_string()));
            self.output.table(fields)?;
            self.output.line("")?;
            for reason in &known.reasons {
                self.output
                    .line(&format!("- {}", clean(&reason.to_string())))?;
            }
        }
        Ok(if is_there { Exit::DONE } else { Exit::NOTHING })
    }
}
