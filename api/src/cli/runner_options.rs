//! The configuration as the runner takes it.

use super::{agent_options, failure::Failure, webhook_options};
use crate::config::{Loaded, ToolsConfig};
use moonlog_core::json::Json;
use moonlog_runner::{
    Bounds, CacheOptions, QueueOptions, RunnerOptions, Threads,
    http::{AllowedNetwork, HttpOptions, HttpPolicy},
    process::{HostCommand, ProcessLimits, ProcessOptions},
    random_ids,
    secret::{SecretSource, Secrets},
    system_clock,
    tool::{Policy, Rule, ToolLimits, ToolOptions},
    workspace::WorkspaceOptions,
};
use moonlog_scripts::Limits;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
    time::Duration,
};

/// The runner's options.
pub fn of(loaded: &Loaded) -> Result<RunnerOptions, Failure> {
    let config = &loaded.config;
    let limits = &config.limits;
    let secrets = Arc::new(secrets(loaded));
    // This very program, also after the file it was started from was replaced.
    let host = HostCommand { program: "/proc/self/exe".into(), args: vec!["process-host".into()] };
    let processes = ProcessOptions {
        limits: ProcessLimits {
            output_max_bytes: limits.process_output_bytes,
            capture_bytes: size(limits.process_capture_bytes),
            stall_ms: u64::try_from(limits.process_stall.as_millis()).unwrap_or(u64::MAX),
            processes_max: limits.processes,
            ..ProcessLimits::default()
        },
        secrets: secrets.clone(),
        withheld: config.key_variables.clone(),
        ..ProcessOptions::new(host)
    };
    let http = HttpOptions {
        allowed_networks: networks(&config.http.allow_private)?,
        response_max_bytes: size(limits.http_response_bytes),
        request_max_bytes: size(limits.value_max_bytes),
        timeout_ms: ms(config.http.timeout),
        redirects_max: config.http.redirects_max,
        secrets,
    };
    let http = HttpPolicy::new(http)
        .map_err(|error| Failure::failed(format!("cannot set up HTTP for scripts: {}", error.message)))?;
    let queue = |(name, queue): (&String, &crate::config::QueueConfig)| {
        let options = QueueOptions {
            concurrency: queue.concurrency,
            capacity: size(queue.capacity),
            rate_per_minute: queue.rate_per_minute,
            key_rate_per_minute: queue.key_rate_per_minute,
            ..QueueOptions::default()
        };
        (name.clone(), options)
    };
    let tools = tools(&config.tools)?;
    Ok(RunnerOptions {
        concurrency: config.runner.concurrency,
        resume_jobs: true,
        idle_evict_ms: ms(config.runner.idle_evict),
        queues: config.queues.iter().map(queue).collect(),
        nesting: limits.nesting,
        checkpoint_events: config.log.snapshot_every_events,
        warm_vms: config.runner.warm_vms,
        limits: Limits {
            memory_bytes: size(limits.script_memory_bytes),
            cpu_ms: u64::try_from(limits.script_compute.as_millis()).unwrap_or(u64::MAX),
            steps_max: u32::try_from(limits.steps_per_job).unwrap_or(u32::MAX),
            events_max: limits.events_per_job,
            branches_max: u32::try_from(limits.open_branches).unwrap_or(u32::MAX),
            value_bytes: size(limits.value_max_bytes),
            items_max: u32::try_from(limits.items_max).unwrap_or(u32::MAX),
            agents_max: u32::try_from(limits.agents_per_job).unwrap_or(u32::MAX),
            source_bytes: size(limits.script_source_bytes),
            ..Limits::default()
        },
        bounds: Bounds {
            unended_jobs: limits.unended_jobs,
            schedules: limits.schedules,
            open_sessions: limits.open_sessions,
            queued_messages: limits.queued_messages,
            signals_per_job: limits.signals_per_job,
            name_max_bytes: limits.name_max_bytes,
        },
        agents: agent_options::of(config),
        submit_max_bytes: size(limits.value_max_bytes),
        processes,
        tools,
        workspaces: WorkspaceOptions {
            folder: config.workspaces.folder.clone(),
            git_timeout_ms: u64::try_from(limits.git_timeout.as_millis()).unwrap_or(u64::MAX),
            git_output_max_bytes: limits.git_output_bytes,
            files_max: limits.workspace_files,
            diff_max_bytes: limits.workspace_diff_bytes,
        },
        cache: CacheOptions { max_bytes: config.cache.max_bytes, max_age_ms: ms(config.cache.max_age) },
        http,
        webhooks: webhook_options::of(config),
        config: Json::from(loaded.values_json()),
        repaired: None,
        clock: system_clock(),
        ids: random_ids(),
        threads: Threads::Pool,
        calendar: None,
    })
}

fn tools(config: &ToolsConfig) -> Result<ToolOptions, Failure> {
    let rules = |key: &str, texts: &[String]| {
        let rule = |text: &String| Rule::parse(text).map_err(|error| Failure::usage(format!("tools.{key}: {error}")));
        texts.iter().map(rule).collect::<Result<Vec<Rule>, Failure>>()
    };
    Ok(ToolOptions {
        limits: ToolLimits {
            read_max_bytes: config.read_max_bytes,
            read_max_lines: config.read_max_lines,
            line_max_bytes: config.line_max_bytes,
            write_max_bytes: config.write_max_bytes,
            diff_max_bytes: config.diff_max_bytes,
            edits_max: config.edits_max,
            list_max: config.list_max,
            search_max_matches: config.search_max_matches,
            search_max_ms: ms(config.search_max),
            execute_timeout_ms: ms(config.execute_timeout),
            wait_max_ms: ms(config.wait_max),
        },
        roots: config.roots.clone(),
        policy: Policy {
            ask: rules("ask", &config.ask)?,
            allow: rules("allow", &config.allow)?,
            deny: rules("deny", &config.deny)?,
        },
    })
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn secrets(loaded: &Loaded) -> Secrets {
    let sources = loaded.config.secrets.iter().map(|(name, secret)| {
        let source =
            SecretSource { env: secret.env.clone(), hosts: secret.hosts.clone(), commands: secret.commands.clone() };
        (name.clone(), source)
    });
    Secrets::from_env(sources.collect())
}

/// `http.allow_private`: addresses, ranges such as `10.0.0.0/8`, and `localhost`.
fn networks(texts: &[String]) -> Result<Vec<AllowedNetwork>, Failure> {
    let mut networks = Vec::new();
    for text in texts {
        if text == "localhost" {
            networks.push(AllowedNetwork { address: IpAddr::V4(Ipv4Addr::LOCALHOST), prefix: 8 });
            networks.push(AllowedNetwork { address: IpAddr::V6(Ipv6Addr::LOCALHOST), prefix: 128 });
            continue;
        }
        networks.push(network(text).ok_or_else(|| {
            Failure::usage(format!("http.allow_private: `{text}` is no address or range"))
                .hint("such as 127.0.0.1, 10.0.0.0/8, fd00::/8 or localhost")
        })?);
    }
    Ok(networks)
}

fn network(text: &str) -> Option<AllowedNetwork> {
    let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
    let address: IpAddr = address.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    let prefix = prefix.map_or(Some(longest), |prefix| prefix.parse().ok())?;
    (prefix <= longest).then_some(AllowedNetwork { address, prefix })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tools_get_their_limits_and_rules() {
        let load = |text: &str| {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("moonlog.toml");
            std::fs::write(&file, text).unwrap();
            tools(&crate::config::Config::load(Some(&file), [], &[]).unwrap().config.tools)
        };
        let defaults = load("").unwrap();
        assert_eq!(defaults.limits, ToolLimits::default());
        assert_eq!(defaults.roots, [std::path::PathBuf::from(".")]);
        let text =
            "[tools]\nread_max_bytes = 2_048\nexecute_timeout_ms = 500\ndeny = [\"execute:rm *\"]\nroots = [\"/srv\"]";
        let set = load(text).unwrap();
        assert_eq!((set.limits.read_max_bytes, set.limits.execute_timeout_ms), (2_048, 500));
        assert_eq!((set.policy.deny[0].to_string().as_str(), set.roots.len()), ("execute:rm *", 1));
        assert!(load("[tools]\nask = [\"execute:\"]").is_err());
    }

    #[test]
    fn limits_are_those_of_the_runner_where_nobody_says() {
        let mut loaded = crate::config::Config::load(Some("/dev/null".as_ref()), [], &[]).unwrap();
        assert_eq!(of(&loaded).unwrap().bounds, Bounds::default());
        assert_eq!(of(&loaded).unwrap().processes.limits.processes_max, ProcessLimits::default().processes_max);
        loaded.config.limits.schedules = 7;
        loaded.config.limits.name_max_bytes = 99;
        let bounds = of(&loaded).unwrap().bounds;
        assert_eq!((bounds.schedules, bounds.name_max_bytes), (7, 99));
    }

    #[test]
    fn networks_of_scripts() {
        let read = |text: &str| networks(&[text.to_owned()]);
        for (text, count) in [("127.0.0.1", 1), ("10.0.0.0/8", 1), ("fd00::/8", 1), ("localhost", 2)] {
            assert_eq!(read(text).unwrap().len(), count, "{text}");
        }
        for text in ["10.0.0.0/33", "example.com", "", "1.2.3.4/x"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
