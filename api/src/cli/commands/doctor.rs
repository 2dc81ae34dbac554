//! `moonlog doctor`: what is wrong with this set-up.

use crate::cli::{
    args::Doctor,
    context::Context,
    doctor::{self, Finding, Level},
    failure::{Failure, Status},
    output,
    paint::{Look, Paint, harmless},
};
use serde_json::json;

/// Runs the command. `context` may be what is wrong.
pub async fn run(context: Result<Context, Failure>, options: &Doctor) -> Result<Status, Failure> {
    let found = doctor::look(context).await;
    let wrong = found.iter().filter(|finding| finding.level == Level::Wrong).count();
    if options.format.json {
        output::json(&json!({ "ok": wrong == 0, "findings": found }))?;
    } else {
        output::text(&report(&found, wrong, Paint::for_terminal(&std::io::stdout())))?;
    }
    if wrong == 0 { Ok(Status::Done) } else { Err(Failure::silent(Status::Failed)) }
}

fn report(found: &[Finding], wrong: usize, paint: Paint) -> String {
    let width = found.iter().map(|finding| finding.check.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in found {
        let look = match finding.level {
            Level::Ok => Look::Green,
            Level::Warning => Look::Yellow,
            Level::Wrong => Look::Red,
            Level::Skipped => Look::Dim,
        };
        let level = format!("{:<7}", finding.level.name());
        let (check, detail) = (harmless(&finding.check), harmless(&finding.detail));
        text.push_str(&format!("{}  {check:<width$}  {detail}\n", paint.put(look, &level)));
        if let Some(hint) = &finding.hint {
            text.push_str(&format!("{:<9}{:<width$}  hint: {}\n", "", "", harmless(hint)));
        }
    }
    text.push_str(&match wrong {
        0 => "nothing is wrong\n".to_owned(),
        1 => "1 thing is wrong\n".to_owned(),
        _ => format!("{wrong} things are wrong\n"),
    });
    text
}
