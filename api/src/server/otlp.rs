//! A trace in the JSON form of OTLP. The names of attributes follow OpenTelemetry's conventions for generative AI, which
//! still move: they stand here alone.

use moonlog_core::{
    id::Hash,
    projection::{Span, SpanKind, Trace},
    time::Timestamp,
};
use serde_json::{Value, json};

const SYSTEM: &str = "gen_ai.provider.name";
const OPERATION: &str = "gen_ai.operation.name";
const MODEL: &str = "gen_ai.request.model";
const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
const CACHED_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
const TOOL: &str = "gen_ai.tool.name";

/// OTLP's numbers for a status.
const STATUS_OK: u8 = 1;
const STATUS_ERROR: u8 = 2;
/// What happens inside, and what asks somebody outside.
const KIND_INTERNAL: u8 = 1;
const KIND_CLIENT: u8 = 3;

/// The trace as an `ExportTraceServiceRequest`.
pub fn of(trace: &Trace) -> Value {
    let trace_id: String = trace.job.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    let spans: Vec<Value> = trace.spans.iter().map(|span| of_span(&trace_id, span)).collect();
    json!({
        "resourceSpans": [{
            "resource": { "attributes": [text("service.name", "moonlog"), text("moonlog.job", &trace.job.to_string())] },
            "scopeSpans": [{ "scope": { "name": "moonlog", "version": env!("CARGO_PKG_VERSION") }, "spans": spans }],
        }],
    })
}

fn of_span(trace_id: &str, span: &Span) -> Value {
    let mut attributes = vec![text("moonlog.kind", kind(span.kind)), text("moonlog.outcome", &span.outcome)];
    match span.kind {
        SpanKind::Turn => attributes.push(text(OPERATION, "chat")),
        SpanKind::Tool => attributes.extend([text(OPERATION, "execute_tool"), text(TOOL, &span.name)]),
        _ => {}
    }
    attributes.extend(span.model.as_deref().map(|model| text(MODEL, model)));
    attributes.extend(span.backend.as_deref().map(|backend| text(SYSTEM, backend)));
    if let Some(usage) = &span.usage {
        attributes.push(number(INPUT_TOKENS, usage.prompt_tokens));
        attributes.push(number(OUTPUT_TOKENS, usage.completion_tokens));
        attributes.push(number(CACHED_TOKENS, usage.cached_tokens));
        attributes.extend(usage.cost.map(|cost| double("moonlog.cost", cost.units())));
    }
    attributes.extend(span.attempt.map(|attempt| number("moonlog.attempt", attempt.into())));
    let mut out = json!({
        "traceId": trace_id,
        "spanId": span_id(&span.id),
        "name": span.name,
        "kind": if span.kind == SpanKind::Turn { KIND_CLIENT } else { KIND_INTERNAL },
        "startTimeUnixNano": nanos(span.started_at),
        "attributes": attributes,
    });
    if let Some(parent) = &span.parent {
        out["parentSpanId"] = span_id(parent).into();
    }
    if let Some(ended_at) = span.ended_at {
        out["endTimeUnixNano"] = nanos(ended_at).into();
        out["status"] = match span.outcome.as_str() {
            "ok" | "skipped" => json!({ "code": STATUS_OK }),
            outcome => json!({ "code": STATUS_ERROR, "message": span.error.as_deref().unwrap_or(outcome) }),
        };
    }
    out
}

const fn kind(kind: SpanKind) -> &'static str {
    match kind {
        SpanKind::Job => "job",
        SpanKind::Phase => "phase",
        SpanKind::Step => "step",
        SpanKind::Turn => "turn",
        SpanKind::Tool => "tool",
        SpanKind::Process => "process",
    }
}

/// Eight bytes that follow from the span's own id.
fn span_id(id: &str) -> String {
    Hash::of(id.as_bytes()).as_bytes()[..8].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Numbers of 64 bits are texts in this form.
fn nanos(time: Timestamp) -> String {
    format!("{}000", time.as_micros())
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}

fn double(key: &str, value: f64) -> Value {
    json!({ "key": key, "value": { "doubleValue": value } })
}
