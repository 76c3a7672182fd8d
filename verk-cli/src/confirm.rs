//! Agreement to a change: [`agree`].

use crate::{args::Consent, failure::Failure, output::Output};

/// Asks whether `question` is meant, unless the arguments say yes. Fails if nobody agrees.
pub(crate) fn agree(output: &mut Output, consent: &Consent, question: &str) -> Result<(), Failure> {
    if consent.yes {
        return Ok(());
    }
    needs_a_person(output)?;
    match &*output.ask(&format!("{question} [y/N]"))?.to_lowercase() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Refused("nothing was changed".to_owned())),
    }
}

/// As [`agree`], for what cannot be undone: the person types the name of what is meant.
pub(crate) fn agree_by_name(
    output: &mut Output,
    consent: &Consent,
    question: &str,
    name: &str,
) -> Result<(), Failure> {
    if consent.yes {
        return Ok(());
    }
    needs_a_person(output)?;
    if output.ask(&format!("{question} Type {name} to do it:"))? == name {
        return Ok(());
    }
    Err(Failure::Refused(
        "this was another name, so nothing was changed".to_owned(),
    ))
}

fn needs_a_person(output: &Output) -> Result<(), Failure> {
    if output.asks() {
        return Ok(());
    }
    Err(Failure::Refused(
        "nothing was changed: there is no terminal to ask on, so say --yes, or --dry-run to see what it would do"
            .to_owned(),
    ))
}
