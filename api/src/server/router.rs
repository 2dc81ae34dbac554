//! From a request to its handler: place, path, token, method, query, in this order; and from what the handler gives to
//! an answer.

use super::{
    app::App,
    approvals, backup, blobs, bulk, commands, compact, console, diff, errors, events, health, import, jobs, messages,
    openapi,
    problem::Problem,
    processes,
    query::Query,
    queues,
    reply::{self, Response},
    request::{BodyStream, Head, Request},
    route::{Endpoint, Operation, Route},
    routes::ROUTES,
    schedules, sessions, state, tickets, tools, traces, verify, webhooks, workflows,
};
use futures_util::FutureExt;
use percent_encoding::percent_decode_str;
use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};
use warp::http::{HeaderValue, Method, StatusCode, header};

/// Answers a request, whatever happens.
pub async fn answer(app: Arc<App>, head: Head, body: BodyStream) -> Response {
    let begun = Instant::now();
    let is_head = head.method == Method::HEAD;
    let origin = app.guard.foreign_origin(&head.headers);
    let mut route = "";
    let method = label(&head.method);
    // A handler that panics is a fault of ours; the connection and the other requests on it are not to blame.
    let handled = AssertUnwindSafe(handle(&app, head, body, &mut route)).catch_unwind().await;
    let mut response = match handled {
        Ok(Ok(response)) => response,
        Ok(Err(problem)) => problem.into_response(),
        Err(panic) => Problem::internal(&panic_text(&*panic)).into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::VARY, HeaderValue::from_static("Origin"));
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("Location, Retry-After"));
    }
    if is_head {
        response = without_body(response);
    }
    let took = begun.elapsed();
    tracing::debug!(method, route, status = response.status().as_u16(), ?took, "answered");
    app.metrics.answered(method, route, response.status(), took);
    response
}

async fn handle(app: &Arc<App>, head: Head, body: BodyStream, label: &mut &'static str) -> Result<Response, Problem> {
    app.guard.check_place(&head.method, &head.headers)?;
    let found = find(&head.path);
    *label = found.as_ref().map_or("", |(route, _)| route.path);
    let preflight = head.method == Method::OPTIONS && app.guard.foreign_origin(&head.headers).is_some();
    if *label != "/healthz" && !preflight {
        // Feeds are what a browser asks for without headers of its own.
        let is_feed = found.as_ref().is_some_and(|(route, _)| is_feed(route));
        let ticket = is_feed.then(|| ticket_of(&head.query)).flatten();
        if let Err(problem) = app.guard.check_token(&head, ticket.as_deref(), &app.tickets) {
            // A person at a browser gets the page that asks for the token: still a 401, and nothing but the page.
            let is_page = *label == "/" && accepts_html(&head);
            return if is_page { Ok(console::page(StatusCode::UNAUTHORIZED)) } else { Err(problem) };
        }
    }
    if head.method == Method::OPTIONS && head.path == "*" {
        return Ok(allow(StatusCode::NO_CONTENT, "GET, HEAD, POST, OPTIONS"));
    }
    let Some((route, segments)) = found else {
        let path: String = head.path.chars().take(200).collect();
        return Err(Problem::not_found(
            "no_such_path",
            format!("there is nothing at {path}; /openapi.json lists what is"),
        ));
    };
    let wanted = if head.method == Method::HEAD { Method::GET } else { head.method.clone() };
    let Some(operation) = route.operations.iter().find(|operation| operation.method == wanted) else {
        let allowed = allowed(route);
        if head.method == Method::OPTIONS {
            return Ok(options(&allowed));
        }
        return Err(Problem::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            format!("{} does not take {}, but {allowed}", route.path, head.method),
        )
        .header(header::ALLOW, HeaderValue::from_str(&allowed).unwrap_or(HeaderValue::from_static("GET"))));
    };
    let query = Query::read(&head.query, operation.query)?;
    let jobs = if route.path.starts_with("/v1/jobs/{id}") { segments.clone() } else { Vec::new() };
    // One allocation for the future of whatever handler it is, in place of one as large as the largest.
    let answered = dispatch(app.clone(), operation, Request { head, segments, query, body }).await;
    answered.map_err(|problem| app.tell_deleted(problem, &jobs))
}

fn dispatch(
    app: Arc<App>,
    operation: &'static Operation,
    request: Request,
) -> futures_util::future::BoxFuture<'static, Result<Response, Problem>> {
    match operation.endpoint {
        Endpoint::SubmitJob => jobs::submit(app, request).boxed(),
        Endpoint::CancelJobs => bulk::cancel(app, request).boxed(),
        Endpoint::RetryJobs => bulk::retry(app, request).boxed(),
        Endpoint::ListErrors => errors::list(app, request).boxed(),
        Endpoint::ShowError => errors::show(app, request).boxed(),
        Endpoint::ListWebhooks => webhooks::list(app, request).boxed(),
        Endpoint::ShowWebhook => webhooks::show(app, request).boxed(),
        Endpoint::Redeliver => webhooks::redeliver(app, request).boxed(),
        Endpoint::ListJobs => jobs::list(app, request).boxed(),
        Endpoint::ShowJob => jobs::show(app, request).boxed(),
        Endpoint::DeleteJob => commands::delete(app, request).boxed(),
        Endpoint::CancelJob => commands::cancel(app, request).boxed(),
        Endpoint::SignalJob => commands::signal(app, request).boxed(),
        Endpoint::RetryJob => commands::retry(app, request).boxed(),
        Endpoint::ForkJob => commands::fork(app, request).boxed(),
        Endpoint::DiffJobs => diff::show(app, request).boxed(),
        Endpoint::DecideApproval => approvals::decide(app, request).boxed(),
        Endpoint::ListApprovals => approvals::list(app, request).boxed(),
        Endpoint::JobState => state::show(app, request).boxed(),
        Endpoint::JobEvents => events::of_job(app, request).boxed(),
        Endpoint::Events => events::all(app, request).boxed(),
        Endpoint::ListTools => tools::list(app, request).boxed(),
        Endpoint::ListQueues => queues::list(app, request).boxed(),
        Endpoint::PauseQueue => queues::pause(app, request).boxed(),
        Endpoint::ResumeQueue => queues::resume(app, request).boxed(),
        Endpoint::ListSchedules => schedules::list(app, request).boxed(),
        Endpoint::ShowSchedule => schedules::show(app, request).boxed(),
        Endpoint::SetSchedule => schedules::set(app, request).boxed(),
        Endpoint::RemoveSchedule => schedules::remove(app, request).boxed(),
        Endpoint::ListWorkflows => workflows::list(app, request).boxed(),
        Endpoint::ShowWorkflow => workflows::show(app, request).boxed(),
        Endpoint::CheckWorkflow => workflows::check(app, request).boxed(),
        Endpoint::StartProcess => processes::start(app, request).boxed(),
        Endpoint::ListProcesses => processes::list(app, request).boxed(),
        Endpoint::ShowProcess => processes::show(app, request).boxed(),
        Endpoint::ProcessOutput => processes::output(app, request).boxed(),
        Endpoint::SearchProcess => processes::search(app, request).boxed(),
        Endpoint::SignalProcess => processes::signal(app, request).boxed(),
        Endpoint::JobTraces => traces::show(app, request).boxed(),
        Endpoint::SayMessage => messages::say(app, request).boxed(),
        Endpoint::EditMessage => messages::edit(app, request).boxed(),
        Endpoint::ShowQueuedMessage => messages::show_queued(app, request).boxed(),
        Endpoint::ChangeQueuedMessage => messages::change_queued(app, request).boxed(),
        Endpoint::DropQueuedMessage => messages::drop_queued(app, request).boxed(),
        Endpoint::InterruptSession => messages::interrupt(app, request).boxed(),
        Endpoint::CreateSession => sessions::create(app, request).boxed(),
        Endpoint::ListSessions => sessions::list(app, request).boxed(),
        Endpoint::ShowSession => sessions::show(app, request).boxed(),
        Endpoint::ChangeSession => sessions::change(app, request).boxed(),
        Endpoint::CloseSession => sessions::close(app, request).boxed(),
        Endpoint::ListChanges => sessions::changes(app, request).boxed(),
        Endpoint::RevertChanges => sessions::revert(app, request).boxed(),
        Endpoint::MergeChanges => sessions::merge(app, request).boxed(),
        Endpoint::Blob => blobs::show(app, request).boxed(),
        Endpoint::Ticket => tickets::give(app, request).boxed(),
        Endpoint::Import => import::run(app, request).boxed(),
        Endpoint::Backup => backup::give(app, request).boxed(),
        Endpoint::Compact => compact::run(app, request).boxed(),
        Endpoint::Verify => verify::run(app).boxed(),
        Endpoint::Health => health::live().boxed(),
        Endpoint::Ready => health::ready(app).boxed(),
        Endpoint::Metrics => health::metrics(app).boxed(),
        Endpoint::OpenApi => openapi::show().boxed(),
        Endpoint::Console => console::show().boxed(),
    }
}

/// The route of a path, and what stands at its variables. Fixed segments win over variables, as they come first.
fn find(path: &str) -> Option<(&'static Route, Vec<String>)> {
    ROUTES.iter().find_map(|route| matches(route.path, path).map(|segments| (route, segments)))
}

fn matches(pattern: &str, path: &str) -> Option<Vec<String>> {
    let mut given = path.split('/');
    let mut segments = Vec::new();
    for known in pattern.split('/') {
        let given = given.next()?;
        if known.starts_with('{') {
            let text = percent_decode_str(given).decode_utf8().ok().filter(|text| !text.is_empty())?;
            segments.push(text.into_owned());
        } else if known != given {
            return None;
        }
    }
    given.next().is_none().then_some(segments)
}

fn is_feed(route: &Route) -> bool {
    route.operations.iter().any(|operation| operation.query.contains(&"ticket"))
}

fn ticket_of(query: &str) -> Option<String> {
    let ticket = query.split('&').find_map(|part| part.strip_prefix("ticket="))?;
    percent_decode_str(ticket).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

fn accepts_html(head: &Head) -> bool {
    let accept = head.headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    head.method == Method::GET && accept.is_some_and(|accept| accept.contains("text/html"))
}

fn allowed(route: &Route) -> String {
    let mut methods: Vec<&str> = Vec::new();
    for operation in route.operations {
        methods.push(operation.method.as_str());
        if operation.method == Method::GET {
            methods.push("HEAD");
        }
    }
    methods.push("OPTIONS");
    methods.join(", ")
}

fn options(allowed: &str) -> Response {
    let mut response = allow(StatusCode::NO_CONTENT, allowed);
    let headers = response.headers_mut();
    // Read by browsers only where the origin is allowed too.
    if let Ok(methods) = HeaderValue::from_str(allowed) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, methods);
    }
    headers.insert(
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static("Authorization, Content-Type, Last-Event-ID, Idempotency-Key"),
    );
    response
}

fn allow(status: StatusCode, methods: &str) -> Response {
    let mut response = reply::empty(status);
    if let Ok(methods) = HeaderValue::from_str(methods) {
        response.headers_mut().insert(header::ALLOW, methods);
    }
    response
}

/// The same answer as to GET, but for its body.
fn without_body(response: Response) -> Response {
    use warp::hyper::body::Body as _;
    let (mut parts, body) = response.into_parts();
    if let Some(bytes) = body.size_hint().exact()
        && parts.status != StatusCode::NO_CONTENT
    {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(bytes));
    }
    let mut empty = reply::empty(parts.status);
    *empty.headers_mut() = parts.headers;
    empty
}

/// The method as a metric's label: there are as many of those as are known here, whatever clients send.
fn label(method: &Method) -> &'static str {
    [Method::GET, Method::POST, Method::HEAD, Method::OPTIONS, Method::PUT, Method::DELETE, Method::PATCH]
        .iter()
        .position(|known| known == method)
        .map_or("other", |at| ["GET", "POST", "HEAD", "OPTIONS", "PUT", "DELETE", "PATCH"][at])
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("a handler panicked: {}", text.unwrap_or("no text"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_find_their_routes() {
        let table = [
            ("/", Some("/"), &[][..]),
            ("/v1/jobs", Some("/v1/jobs"), &[]),
            ("/v1/jobs/", None, &[]),
            ("/v1/jobs/a", Some("/v1/jobs/{id}"), &["a"]),
            (
                "/v1/jobs/a/approvals/gate%2Fapprove%3A2",
                Some("/v1/jobs/{id}/approvals/{approval}"),
                &["a", "gate/approve:2"],
            ),
            ("/v1/workflows/check", Some("/v1/workflows/check"), &[]),
            ("/v1/workflows/x%20y", Some("/v1/workflows/{name}"), &["x y"]),
            ("/v1/workflows/%FF", None, &[]),
            ("/v2/jobs", None, &[]),
            ("//v1/jobs", None, &[]),
            ("", None, &[]),
            ("/v1/jobs/a/b/c/d/e", None, &[]),
        ];
        for (path, expected, segments) in table {
            let found = find(path);
            assert_eq!(found.as_ref().map(|(route, _)| route.path), expected, "{path}");
            if let Some((_, found)) = found {
                assert_eq!(found, segments, "{path}");
            }
        }
    }
}
