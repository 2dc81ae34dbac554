//! Performs one request.

use super::HttpPolicy;
use crate::StepResult;
use moonlog_core::json::Json;

/// Performs the operation `http`. `idempotency_key` goes along as the header `Idempotency-Key`.
///
/// The result is `{status, headers, body}`, with `body_base64` instead of `body` where the answer is not UTF-8.
pub async fn perform(input: &Json, idempotency_key: &str, policy: &HttpPolicy) -> StepResult {
    let _ = (input, idempotency_key, policy);
    todo!()
}
