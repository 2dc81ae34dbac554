//! What is wrong with a set-up: each check looks at one thing, changes nothing, and says what to do. Nothing here is
//! told of a secret but whether it is set, and no request is made that a provider would charge for.

mod finding;
mod folder;
mod listen;
mod machine;
mod models;
mod variables;

pub use finding::{Finding, Level};

use super::{connect, context::Context, failure::Failure, runner_options};
use moonlog_scripts::{Entry, Library};

/// Looks at everything. Where the configuration cannot be read, at what needs none.
pub async fn look(context: Result<Context, Failure>) -> Vec<Finding> {
    let context = match context {
        Ok(context) => context,
        Err(failure) => {
            let rest =
                ["data folder", "models", "listen"].map(|what| Finding::skipped(what, "needs the configuration"));
            return [wrong_configuration(&failure), machine::git()].into_iter().chain(rest).collect();
        }
    };
    let loaded = &context.loaded;
    let mut found = Vec::new();
    let options = runner_options::of(loaded);
    found.push(match (&options, &loaded.file) {
        (Err(failure), _) => wrong_configuration(failure),
        (Ok(_), Some(file)) => Finding::ok("configuration", file.display().to_string()),
        (Ok(_), None) => Finding::ok("configuration", "no moonlog.toml: all defaults"),
    });
    let server = match connect::find(&context).await {
        Ok(connect::Found::Server(client)) => Some(client),
        Ok(connect::Found::Nothing) | Err(_) => None,
    };
    if let Some(client) = &server {
        found.push(machine::server(client).await);
    }
    found.extend(folder::look(&loaded.config, server.is_some()));
    found.push(listen::look(&loaded.config, &context));
    found.extend(models::look(&loaded.config).await);
    found.extend(variables::look(&loaded.entries));
    found.push(workflows(&loaded.config.runner.workflow_folders));
    found.push(machine::git());
    if let Ok(options) = options {
        found.push(machine::process_host(options.processes).await);
    }
    found
}

fn wrong_configuration(failure: &Failure) -> Finding {
    let details: String = failure.details.iter().map(|line| format!("; {line}")).collect();
    let finding = Finding::wrong("configuration", format!("{}{details}", failure.message));
    match &failure.hint {
        Some(hint) => finding.hint(hint.as_str()),
        None => finding,
    }
}

fn workflows(folders: &[std::path::PathBuf]) -> Finding {
    let list = Library::new(folders.to_vec()).list();
    let broken: Vec<String> = list
        .iter()
        .filter_map(|entry| match entry {
            Entry::Broken(broken) => Some(broken.name.clone()),
            Entry::Workflow(_) => None,
        })
        .collect();
    let whole = list.len() - broken.len();
    if broken.is_empty() {
        return Finding::ok("workflows", format!("{whole} can be run"));
    }
    Finding::warning("workflows", format!("{whole} can be run, and these are broken: {}", broken.join(", ")))
        .hint("`moonlog workflows` tells what is wrong with them")
}
