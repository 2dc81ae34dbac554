//! What every command starts from: the options and the configuration.

use super::{args::Global, failure::Failure};
use crate::config::{Config, Flag, Loaded};

/// The options that all commands take, and the configuration with the flags laid over it.
#[derive(Debug)]
pub struct Context {
    /// As typed.
    pub global: Global,
    /// As effective.
    pub loaded: Loaded,
}

impl Context {
    /// Reads the configuration.
    pub fn load(global: Global, mut flags: Vec<Flag>) -> Result<Self, Failure> {
        if let Some(data) = &global.data {
            let value = data.display().to_string();
            flags.push(Flag { flag: "--data".into(), key: "log.folder".into(), value });
        }
        // A variable that is not UTF-8 is none of ours.
        let env =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        let loaded = Config::load(global.config.as_deref(), env, &flags)
            .map_err(|error| Failure::usage(error.to_string()).hint("`moonlog config` lists the keys"))?;
        Ok(Self { global, loaded })
    }

    /// What has to be sent to a server.
    pub fn token(&self) -> Option<String> {
        self.loaded.config.api.token.as_ref().map(|token| token.reveal().to_owned())
    }
}
