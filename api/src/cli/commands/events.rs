//! `moonlog events`: prints a feed.

use super::job_ref;
use crate::{
    cli::{
        args::Events,
        client::Client,
        failure::{Failure, Status},
        feed::{Feed, Query},
        output,
        paint::{Look, Paint, harmless},
    },
    envelope::Envelope,
};

/// Runs the command.
pub async fn run(client: &Client, options: &Events) -> Result<Status, Failure> {
    let job = match &options.job {
        Some(job) => Some(job_ref::resolve(client, job).await?),
        None => None,
    };
    let in_a_job = job.is_some();
    let query = Query {
        session: None,
        job,
        types: options.types.clone(),
        after: options.after.clone(),
        follow: options.follow,
        limit: options.limit,
    };
    let mut feed = Feed::open(client, query).await?;
    let paint = Paint::for_terminal(&std::io::stdout());
    // A terminal is for people, a pipe for programs: there a line is an envelope.
    let as_json = options.format.json || !output::is_terminal();
    while let Some(line) = feed.next_line().await? {
        if as_json {
            output::line_of_json(&line)?;
        } else {
            let envelope = Envelope::parse(&line).map_err(Failure::failed)?;
            output::text(&shown(&envelope, in_a_job, output::columns(), paint))?;
        }
    }
    Ok(Status::Done)
}

/// An event in a line.
fn shown(envelope: &Envelope, in_a_job: bool, columns: usize, paint: Paint) -> String {
    let stream = if in_a_job { String::new() } else { format!(" {}", envelope.stream()) };
    let step = envelope.step().map(|step| format!(" {}", harmless(step))).unwrap_or_default();
    let data = harmless(envelope.data());
    let line = format!(
        "{} {} {}{}{} {}",
        paint.put(Look::Dim, &format!("{:>7}", envelope.position)),
        paint.put(Look::Dim, &envelope.time().to_string()),
        paint.put(Look::Bold, envelope.kind()),
        paint.put(Look::Dim, &stream),
        paint.put(Look::Cyan, &step),
        data,
    );
    console::truncate_str(&line, columns, "…").into_owned()
}
