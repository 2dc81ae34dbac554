//! Of what scripts and webhooks send, and of secrets.

use super::{
    ErrorCode,
    Place::*,
    Retryable::*,
    code,
};

pub(super) const CODES: &[ErrorCode] = &[
    code("address_not_allowed", &[Step, Webhook], &[], No, "The host leads to an address that is not public.", "Add its network to http.allow_private where it is meant."),
    code("connect_failed", &[Step, Webhook], &[], Yes, "No connection to the host.", "Look whether it runs; give the operation a `retry`."),
    code("dns_failed", &[Step, Webhook], &[], Yes, "The host's name cannot be looked up.", "Look at the name and at the network."),
    code("event_removed", &[Webhook], &[], No, "The event was removed from the log before it was delivered.", "Nothing can be delivered any more."),
    code("http_status", &[Step], &[], Yes, "The answer was a status that says to try again, in all tries.", "Look at the answer; wait longer between the tries."),
    code("invalid_header", &[Step], &[], No, "A header cannot be sent.", "The message names it."),
    code("invalid_method", &[Step], &[], No, "The method is none of HTTP.", "Such as GET or POST."),
    code("invalid_network", &[Job], &[], No, "A network of http.allow_private is none.", "Such as 10.0.0.0/8."),
    code("invalid_redirect", &[Step], &[], No, "The answer redirects to something that cannot be requested.", "Ask for the right address."),
    code("invalid_url", &[Step], &[], No, "The address is none for http or https.", "The message says why."),
    code("request_failed", &[Step, Webhook], &[], Yes, "The connection broke, or the answer is no HTTP.", "Give the operation a `retry`."),
    code("request_too_large", &[Step], &[], No, "The body is larger than limits.value_max_bytes.", "Send less."),
    code("response_too_large", &[Step], &[], No, "The answer is larger than limits.http_response_bytes.", "Ask for less, or use curl into a file."),
    code("secret_not_allowed", &[Step], &[], No, "The secret may not go to this host or command.", "Add it to secrets.NAME.hosts or .commands where it is meant."),
    code("secret_not_allowed_here", &[Step], &[], No, "A secret's placeholder stands where none may.", "Put it into env, headers or stdin."),
    code("secret_not_set", &[Step], &[], No, "The variable of the secret is not set.", "Set it in the server's environment."),
    code("secret_too_short", &[Step], &[], No, "The secret is too short to be kept out of the log.", "Use a longer one."),
    code("tls_failed", &[Step, Webhook], &[], No, "No request can be made: TLS cannot be set up.", "Look at the system's certificates."),
    code("too_many_redirects", &[Step], &[], No, "The request was redirected too often.", "Ask for the last address."),
    code("unknown_secret", &[Step, Job], &[], No, "No secret has this name, or its placeholder was cut.", "Add [secrets.NAME], and pass placeholders on whole."),
    code("webhook_gone", &[Webhook], &[], No, "The endpoint answered 410: it wants no more of these.", "Take the webhook out of the configuration, or mend the endpoint and redeliver."),
    code("webhook_redirected", &[Webhook], &[], Yes, "The endpoint answered with a redirect, which is not followed.", "Configure the last address."),
    code("webhook_status", &[Webhook], &[], Yes, "The endpoint answered with a status that is no success.", "Mend the endpoint; then `moonlog redeliver NAME --failed`."),
];
