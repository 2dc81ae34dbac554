//! Arbitrary bodies, queries and path segments for every operation of `/openapi.json`: whatever is sent, the answer is one
//! that is described there, and never a fault of the server's.

use moonlog_tests::{Random, Server, Settings, from_env};
use reqwest::Method;
use serde_json::{Map, Value, json};

const SEED: u64 = 0x0066_757a_7a69;
/// Requests to each operation.
const REQUESTS: u64 = 25;

/// What is told of, as it keeps the others waiting.
const SLOW: std::time::Duration = std::time::Duration::from_secs(2);

/// Small limits, so that nothing is waited for.
const CONFIG: &str = "
[limits]
wait_max_ms = 20
script_compute_ms = 100
body_max_bytes = 100_000
";

/// Texts that have broken something somewhere. None of them does anything as a command.
const TEXTS: &[&str] = &[
    "",
    " ",
    "a",
    "A.b-c_1",
    "\0",
    "\u{1}\r\n",
    "x\r\nx-injected: 1",
    "../../etc/passwd",
    "..%2f..",
    "/",
    "//",
    "%",
    "%00",
    "%ff",
    "é\u{202e}\u{9b}2J",
    "\u{feff}",
    "\u{10ffff}",
    "null",
    "true",
    "-1",
    "0",
    "1",
    "18446744073709551616",
    "1e999",
    "NaN",
    "0x10",
    "9223372036854775807",
    "1s",
    "-1s",
    "99999999999999h",
    "*",
    "**",
    "*.*",
    "[",
    "(",
    "(a+)+$",
    "a{1000}{1000}{1000}",
    "\\",
    "'",
    "\"",
    "2026-11-21T07:32:31Z",
    "9999-12-31T23:59:60Z",
    "-000001-01-01T00:00:00Z",
    "0 0 30 2 *",
    "* * * * * *",
    "@yearly",
    "Europe/Berlin",
    "../../UTC",
    "job.*",
    "job.completed,step.*",
    ",,,",
    "otlp",
    "return args",
    "return {",
    "error({})",
    "queued",
    "default",
    "head",
    "00000000-0000-0000-0000-000000000000",
    "019ab0c2-7d1e-7cc1-9d53-0a3d6b6f2f11",
    "0000000000000000000000000000000000000000000000000000000000000000",
];

struct Fuzz {
    server: Server,
    random: Random,
    /// Ids of what is there.
    known: Vec<String>,
    document: Value,
}

impl Fuzz {
    fn below(&mut self, count: usize) -> usize {
        (self.random.draw() >> 16) as usize % count
    }

    fn text(&mut self) -> String {
        match self.below(12) {
            0..=2 => {
                let at = self.below(self.known.len());
                self.known[at].clone()
            }
            3 => "x".repeat(self.below(3_000)),
            _ => TEXTS[self.below(TEXTS.len())].to_owned(),
        }
    }

    fn any(&mut self, depth: usize) -> Value {
        match self.below(if depth > 3 { 9 } else { 12 }) {
            0 => Value::Null,
            1 => (self.below(2) == 0).into(),
            2 => json!(self.random.draw() as i64),
            3 => json!(self.random.draw()),
            4 => json!(f64::from_bits(self.random.draw())),
            5 => json!([0, 1, -1, 1 << 31, (1_i64 << 53) + 1, i64::MAX][self.below(6)]),
            9 => (0..self.below(4)).map(|_| self.any(depth + 1)).collect::<Vec<_>>().into(),
            10 => Value::Object((0..self.below(4)).map(|_| (self.text(), self.any(depth + 1))).collect()),
            _ => self.text().into(),
        }
    }

    /// A value that is more or less what `schema` wants.
    fn like(&mut self, schema: &Value, depth: usize) -> Value {
        if depth > 6 || self.below(8) == 0 {
            return self.any(3);
        }
        if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
            let schema = self.document["components"]["schemas"][name].clone();
            return self.like(&schema, depth + 1);
        }
        for choice in ["anyOf", "oneOf", "allOf"] {
            if let Some(choices) = schema[choice].as_array().filter(|choices| !choices.is_empty()) {
                let at = self.below(choices.len());
                return self.like(&choices[at], depth + 1);
            }
        }
        if let Some(words) = schema["enum"].as_array().filter(|words| !words.is_empty()) {
            return words[self.below(words.len())].clone();
        }
        match schema["type"].as_str() {
            Some("object") => {
                let mut object = Map::new();
                for (name, field) in schema["properties"].as_object().into_iter().flatten() {
                    let needed = schema["required"].as_array().is_some_and(|names| names.iter().any(|n| n == name));
                    if needed || self.below(3) == 0 {
                        let value = self.like(field, depth + 1);
                        object.insert(name.clone(), value);
                    }
                }
                if self.below(6) == 0 {
                    let (name, value) = (self.text(), self.any(2));
                    object.insert(name, value);
                }
                object.into()
            }
            Some("array") => {
                (0..self.below(3)).map(|_| self.like(&schema["items"], depth + 1)).collect::<Vec<_>>().into()
            }
            Some("string") => self.text().into(),
            Some("integer" | "number") => json!([0, 1, 2, -1, 1000, i64::MAX][self.below(6)]),
            Some("boolean") => (self.below(2) == 0).into(),
            _ => self.any(1),
        }
    }

    /// Bytes that may be no JSON.
    fn body(&mut self, schema: &Value) -> Vec<u8> {
        let mut bytes = self.like(schema, 0).to_string().into_bytes();
        match self.below(10) {
            0 => bytes.truncate(self.below(bytes.len() + 1)),
            1 if !bytes.is_empty() => {
                let at = self.below(bytes.len());
                bytes[at] = self.random.draw() as u8;
            }
            2 => bytes = "[".repeat(self.below(5_000)).into_bytes(),
            _ => {}
        }
        bytes
    }
}

fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).into() } else { format!("%{byte:02x}") })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_one_that_is_described_and_none_is_the_servers_fault() {
    let folder = tempfile::tempdir().unwrap();
    // Whatever is taken for a command, there is none.
    let env = vec![("PATH".to_owned(), folder.path().join("no-commands").display().to_string())];
    let server = Server::start_with(folder.path(), &Settings { config: CONFIG.into(), env, before: None }).await;
    let document = server.get("/openapi.json").await;
    let job = server.submit(&json!({ "script": "return wait_for('go')" })).await;
    let (_, session) = server.post("/v1/sessions", &json!({})).await;
    let (_, process) = server.post("/v1/processes", &json!({ "command": "echo", "shell": true })).await;
    let known =
        [&job, session["id"].as_str().unwrap(), process["id"].as_str().unwrap_or("x")].map(str::to_owned).to_vec();
    let mut fuzz = Fuzz { server, random: Random::from_env(SEED), known, document: document.clone() };
    let requests = from_env("FUZZ_REQUESTS", REQUESTS);

    let mut wrong = Vec::new();
    let mut statuses = std::collections::BTreeMap::<u16, u64>::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            for _ in 0..requests {
                let mut target = String::new();
                for segment in path.split('/').skip(1) {
                    target.push('/');
                    let filled = if segment.starts_with('{') { encoded(&fuzz.text()) } else { segment.to_owned() };
                    target.push_str(&filled);
                }
                let mut query = Vec::new();
                for parameter in operation["parameters"].as_array().into_iter().flatten() {
                    let name = parameter["name"].as_str().unwrap();
                    if name == "follow" {
                        query.push("follow=false".to_owned());
                    } else if parameter["in"] == "query" && fuzz.below(4) == 0 {
                        query.push(format!("{name}={}", encoded(&fuzz.text())));
                    }
                }
                if !query.is_empty() {
                    target = format!("{target}?{}", query.join("&"));
                }
                let method = Method::from_bytes(method.to_ascii_uppercase().as_bytes()).unwrap();
                let mut request = fuzz.server.request(method.clone(), &target);
                let mut sent = Vec::new();
                if let Some((media, content)) =
                    operation["requestBody"]["content"].as_object().and_then(|kinds| kinds.iter().next())
                {
                    sent = fuzz.body(&content["schema"].clone());
                    request = request.header("content-type", media).body(sent.clone());
                }
                if target.contains("/events?") && fuzz.below(3) == 0 {
                    let cursor = fuzz.text().replace(|c: char| c.is_control(), "");
                    request = request.header("last-event-id", cursor.as_bytes());
                }
                let shown = format!("{method} {target} {}", String::from_utf8_lossy(&sent[..sent.len().min(600)]));
                let begun = std::time::Instant::now();
                let response = match request.send().await {
                    Ok(response) => response,
                    Err(error) => panic!("{shown}: no answer: {error}"),
                };
                let status = response.status().as_u16();
                *statuses.entry(status).or_default() += 1;
                let media = response.headers().get("content-type").map(|kind| kind.to_str().unwrap().to_owned());
                let body = response.text().await.unwrap_or_default();
                if begun.elapsed() > SLOW {
                    println!("{:?}: {shown}", begun.elapsed());
                }
                let responses = &operation["responses"];
                let described = responses.get(status.to_string()).or_else(|| responses.get("default"));
                let kinds = described.and_then(|answer| answer["content"].as_object());
                let kind = media.as_deref().map(|media| media.split(';').next().unwrap().trim());
                let fits = match (kinds, kind) {
                    (Some(kinds), Some(kind)) => kinds.contains_key(kind),
                    (None, None) => true,
                    (None, Some(_)) => body.is_empty(),
                    (Some(_), None) => false,
                };
                if status >= 500 || described.is_none() || !fits {
                    wrong.push(format!(
                        "{shown}\n    {status} {media:?} {}",
                        body.chars().take(300).collect::<String>()
                    ));
                }
            }
        }
    }
    println!("answers by status: {statuses:?}");
    assert!(
        wrong.is_empty(),
        "{} answers are not described:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(12)].join("\n")
    );
    let tried = [200, 201, 400, 404, 409].iter().all(|status| statuses.contains_key(status));
    assert!(tried, "too little was tried: {statuses:?}");
    let said = fuzz.server.said();
    assert!(!said.contains("panicked"), "{said}");
    // One of the requests may have paused the queue.
    fuzz.server.post("/v1/queues/default/resume", &json!({})).await;
    let after = fuzz.server.submit(&json!({ "script": "return 1" })).await;
    // Nothing is waited for there.
    let after = fuzz.server.in_state(&after, "completed").await;
    assert_eq!(after["result"], 1, "{after}");
}
