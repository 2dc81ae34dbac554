//! What an agent has used, in words.

use serde_json::Value;

/// Tokens, cost, and whether that is estimated; nothing where nothing was used.
pub fn words(usage: &Value) -> String {
    let tokens = |name: &str| usage[name].as_u64().unwrap_or(0);
    let (prompt, completion) = (tokens("prompt_tokens"), tokens("completion_tokens"));
    if prompt + completion == 0 {
        return String::new();
    }
    format!(
        "{prompt} prompt tokens ({} cached), {completion} completion tokens{}",
        tokens("cached_tokens"),
        beside(usage)
    )
}

/// What there is to say beside the tokens. The currency is that of the configuration's prices.
pub fn beside(usage: &Value) -> String {
    let cost = usage["cost"].as_f64().map(|cost| format!(", cost {cost}")).unwrap_or_default();
    let estimated = if usage["estimated"] == true { ", estimated" } else { "" };
    format!("{cost}{estimated}")
}
