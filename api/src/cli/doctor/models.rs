//! The models: whether each can be asked. What is sent to a provider is the cheapest request that says so, and never one
//! that costs anything.

use super::Finding;
use crate::{cli::agent_options, config::Config};
use futures_util::future::join_all;
use moonlog_runner::agent::model::{Probed, probe};
use std::time::Duration;

/// How long a model's server may take to answer.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks at all of them at once.
pub async fn look(config: &Config) -> Vec<Finding> {
    if config.models.is_empty() {
        return vec![
            Finding::warning("models", "none is configured: agent() fails")
                .hint("set [models.main] with provider, base_url and model in moonlog.toml"),
        ];
    }
    let models = agent_options::of(config).models;
    let probes = models.models.iter().map(|(name, options)| async move {
        let check = format!("model {name}");
        match probe(name, options, PROBE_TIMEOUT).await {
            Probed::Ready(detail) => Finding::ok(check, detail),
            Probed::Doubtful { detail, hint } => Finding::warning(check, detail).hint(hint),
            Probed::Wrong { detail, hint } => Finding::wrong(check, detail).hint(hint),
        }
    });
    let mut found = join_all(probes).await;
    let known = |name: &str| {
        let name = models.aliases.get(name).map_or(name, String::as_str);
        models.models.contains_key(name)
    };
    if !known(&models.default) {
        let finding = Finding::wrong("default model", format!("there is no model `{}`", models.default));
        found.push(finding.hint("set defaults.model to one that is configured"));
    }
    for (alias, name) in models.aliases.iter().filter(|(_, name)| !models.models.contains_key(*name)) {
        let finding = Finding::wrong(format!("alias {alias}"), format!("there is no model `{name}`"));
        found.push(finding.hint(format!("set aliases.{alias} to one that is configured")));
    }
    found
}
