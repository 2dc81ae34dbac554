//! The models that are configured, by name and by alias.

use super::{
    backend::Backend,
    openai::OpenAi,
    options::{ModelOptions, Provider},
    scripted::Scripted,
};
use moonlog_core::error_info::ErrorInfo;
use reqwest::Client;
use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
    time::Duration,
};

/// How long it may take to reach a model's server.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// What is configured of models.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelsOptions {
    /// `[models.NAME]`
    pub models: BTreeMap<String, ModelOptions>,
    /// `[aliases]`: other names for them.
    pub aliases: BTreeMap<String, String>,
    /// `[defaults] model`
    pub default: String,
}

impl Default for ModelsOptions {
    fn default() -> Self {
        Self { models: BTreeMap::new(), aliases: BTreeMap::new(), default: "main".into() }
    }
}

/// A model that can be asked.
pub struct Model {
    /// Its configured name.
    pub name: String,
    /// What is configured of it.
    pub options: ModelOptions,
    /// What serves it.
    pub backend: Arc<dyn Backend>,
}

/// The models, each set up when it is first asked.
pub struct Models {
    options: ModelsOptions,
    ready: BTreeMap<String, OnceLock<Arc<Model>>>,
}

impl Models {
    /// These models.
    pub fn new(options: ModelsOptions) -> Self {
        let ready = options.models.keys().map(|name| (name.clone(), OnceLock::new())).collect();
        Self { options, ready }
    }

    /// What is configured.
    pub const fn options(&self) -> &ModelsOptions {
        &self.options
    }

    /// The model of this name or alias, or the default one.
    ///
    /// # Errors
    /// `no_model` where none is configured, `unknown_model`, or what is missing for this one.
    pub fn get(&self, name: Option<&str>) -> Result<Arc<Model>, ErrorInfo> {
        let asked = name.unwrap_or(&self.options.default);
        let known = self.options.aliases.get(asked).map_or(asked, String::as_str);
        let Some((name, options)) = self.options.models.get_key_value(known) else { return Err(self.missing(asked)) };
        let Some(ready) = self.ready.get(name) else { return Err(self.missing(asked)) };
        if let Some(model) = ready.get() {
            return Ok(model.clone());
        }
        let model = Model { name: name.clone(), options: options.clone(), backend: backend(name, options)? };
        Ok(ready.get_or_init(|| Arc::new(model)).clone())
    }

    /// The model that an agent asked for: by name, else the first that `backend` serves, else the default one.
    ///
    /// # Errors
    /// As [`Self::get`]; `unknown_backend` where the model is served otherwise, or none is served so.
    pub fn for_agent(&self, name: Option<&str>, backend: Option<&str>) -> Result<Arc<Model>, ErrorInfo> {
        let Some(backend) = backend else { return self.get(name) };
        let fits = |options: &ModelOptions| options.provider.name() == backend;
        if name.is_none() && !self.options.models.get(&self.options.default).is_some_and(fits) {
            let first = self.options.models.iter().find(|(_, options)| fits(options));
            let Some((name, _)) = first else {
                return Err(ErrorInfo::new(
                    "unknown_backend",
                    format!("no model is configured that `{backend}` serves"),
                ));
            };
            return self.get(Some(name));
        }
        let model = self.get(name)?;
        if fits(&model.options) {
            return Ok(model);
        }
        let (name, by) = (&model.name, model.options.provider.name());
        Err(ErrorInfo::new("unknown_backend", format!("the model `{name}` is served by `{by}`, not by `{backend}`")))
    }

    fn missing(&self, asked: &str) -> ErrorInfo {
        if self.options.models.is_empty() {
            return ErrorInfo::new(
                "no_model",
                format!(
                    "no model is configured: set [models.{asked}] with provider, base_url and model in moonlog.toml, or \
                     provider = \"scripted\" with a file of turns to try things out"
                ),
            );
        }
        let mut names: Vec<&str> =
            self.options.models.keys().chain(self.options.aliases.keys()).map(String::as_str).collect();
        names.sort_unstable();
        ErrorInfo::new(
            "unknown_model",
            format!(
                "there is no model `{asked}`: set [models.{asked}] in moonlog.toml, or use one of {}",
                names.join(", ")
            ),
        )
    }
}

fn backend(name: &str, options: &ModelOptions) -> Result<Arc<dyn Backend>, ErrorInfo> {
    if let (Some(variable), None, Some(_)) = (&options.api_key_env, &options.api_key, needs_key(options)) {
        let why = format!("the model `{name}` has no key: set {variable} in the server's environment");
        return Err(ErrorInfo::new("no_api_key", why));
    }
    Ok(match options.provider {
        Provider::OpenAi => Arc::new(OpenAi::new(client(name)?, options)),
        Provider::Anthropic | Provider::Gemini => {
            Arc::new(super::providers::Providers::new(name, client(name)?, options)?)
        }
        Provider::Scripted => {
            let file = options.file.clone().ok_or_else(|| {
                ErrorInfo::new("no_model", format!("the scripted model `{name}` has no turns: set models.{name}.file"))
            })?;
            Arc::new(Scripted::new(file))
        }
    })
}

/// A provider's own address wants a key; another one may do without.
fn needs_key(options: &ModelOptions) -> Option<()> {
    (options.provider != Provider::Scripted && options.base_url.is_none()).then_some(())
}

fn client(name: &str) -> Result<Client, ErrorInfo> {
    // Timeouts are the chat's own: it knows which piece it waits for.
    Client::builder().connect_timeout(CONNECT_TIMEOUT).build().map_err(|error| {
        ErrorInfo::new("model_unreachable", format!("cannot set up HTTP for the model `{name}`: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_aliases_and_what_is_missing() {
        let scripted = ModelOptions { file: Some("turns.json".into()), ..ModelOptions::new(Provider::Scripted, "") };
        let mut keyed = ModelOptions::new(Provider::OpenAi, "m");
        keyed.api_key_env = Some("NO_SUCH_KEY".into());
        let options = ModelsOptions {
            models: BTreeMap::from([("main".into(), scripted), ("keyed".into(), keyed)]),
            aliases: BTreeMap::from([("fast".into(), "main".into())]),
            default: "main".into(),
        };
        let models = Models::new(options);
        for name in [None, Some("main"), Some("fast")] {
            assert_eq!(models.get(name).map(|model| model.name.clone()), Ok("main".into()));
        }
        let refused = |models: &Models, name| models.get(name).err().map(|error| error.code).unwrap_or_default();
        assert_eq!(refused(&models, Some("slow")), "unknown_model");
        assert_eq!(refused(&models, Some("keyed")), "no_api_key");
        assert_eq!(refused(&Models::new(ModelsOptions::default()), None), "no_model");
    }
}
