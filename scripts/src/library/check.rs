//! What a script says of itself, without running it.

use super::{
    args::check_schema,
    link::{link, missing, module_names},
    lint::{Offered, line_of_field, unknown_names},
};
use crate::{
    Engine, EngineOptions, Limits, RunSpec,
    engine::{Chunks, checked},
    job::{Fatal, Job},
    thrown::to_error,
    value::{Marks, to_json},
    vm::Vm,
};
use mlua::{Table, Value};
use moonlog_core::{
    error_info::ErrorInfo,
    id::{Hash, JobId},
    journal::Journal,
    json::Json,
    time::Timestamp,
};
use serde::Serialize;
use std::sync::{Arc, OnceLock};

/// What is wrong with a script.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The line, 1-based, where known.
    pub line: Option<u32>,
    /// What is wrong.
    pub message: String,
}

/// What a script says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct WorkflowInfo {
    /// `name`, where it gives one.
    pub name: Option<String>,
    /// `description`
    pub description: Option<String>,
    /// `phases`
    pub phases: Vec<String>,
    /// `args`: the JSON Schema of its arguments.
    pub args_schema: Option<Json>,
    /// Whether it returns a workflow table; if not it is a job by itself.
    pub is_workflow: bool,
    /// What its chunk threw when it was evaluated without arguments and operations, where that was no refused operation.
    /// A script that is a job by itself may do so and still be fine.
    pub raised: Option<Problem>,
    /// What is likely to be a mistake.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Problem>,
}

/// Compiles a script and evaluates its chunk with operations refused. `name` stands before lines in messages.
///
/// # Errors
/// What is wrong with it.
pub fn check(name: &str, source: &str) -> Result<WorkflowInfo, Vec<Problem>> {
    let limits = Limits { cpu_ms: 500, ..Limits::default() };
    let compiled = checked(&link(source), &limits).map_err(|error| vec![problem(&error)])?;
    let engine = engine();
    let vm = engine.take().map_err(|error| vec![problem(&error)])?;
    let info = evaluate(&vm, name, Arc::new(compiled), limits).map_err(|problems| with_lines(problems, source));
    engine.give_back(vm);
    info.map(|mut info| {
        info.warnings.extend(unknown_names(source, offered()));
        info.warnings.extend(missing(source).into_iter().map(|(line, name)| Problem {
            line: Some(line),
            message: format!("there is no module `{name}`; there are {}", module_names().join(", ")),
        }));
        info.warnings.sort_by_key(|warning| warning.line);
        info
    })
}

/// What scripts are offered, asked for once. What a job adds of its own stands beside it.
fn offered() -> &'static Offered {
    static OFFERED: OnceLock<Offered> = OnceLock::new();
    OFFERED.get_or_init(|| {
        let of_the_job = ["args", "budget.total", "budget.spent", "budget.remaining", "require"].map(String::from);
        let names =
            engine().take().and_then(|vm| vm.offered().map_err(|error| ErrorInfo::new("internal", error.to_string())));
        Offered::new(names.unwrap_or_default().into_iter().chain(of_the_job))
    })
}

/// The problems, each about a field of the workflow's table with the line of that field.
fn with_lines(mut problems: Vec<Problem>, source: &str) -> Vec<Problem> {
    for problem in problems.iter_mut().filter(|problem| problem.line.is_none()) {
        let field = problem.message.strip_prefix('`').and_then(|rest| rest.split_once('`'));
        problem.line = field.and_then(|(field, _)| line_of_field(source, field));
    }
    problems
}

/// One warm VM for checking is enough.
fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::new(EngineOptions { warm: 1, ..EngineOptions::default() }))
}

fn evaluate(vm: &Vm, name: &str, compiled: Arc<Chunks>, limits: Limits) -> Result<WorkflowInfo, Vec<Problem>> {
    let fault = |error: mlua::Error| vec![Problem { line: None, message: error.to_string() }];
    let spec = RunSpec {
        stop: Default::default(),
        earlier: None,
        job: JobId::from_bytes([0; 16]),
        run: 1,
        workflow: name.to_owned(),
        source: "".into(),
        script_hash: Hash::ZERO,
        args: Json::null(),
        seed: 0,
        started_at: Timestamp::default(),
        nesting: 0,
        budget_total: None,
    };
    let limits = Arc::new(limits);
    let mut job = Job::new(spec, Arc::clone(&limits), Arc::clone(&vm.marks), Journal::default(), Arc::default());
    job.refuse = true;
    job.chunks = Some(Arc::clone(&compiled));
    vm.seat(job, &limits).map_err(fault)?;
    vm.watch.set_budget_ms(limits.cpu_ms);
    let args = vm.lua.create_table().map_err(fault)?;
    let env = vm.globals(Value::Table(args), None).map_err(fault)?;
    let chunk = vm.load(name, &compiled.main, env).map_err(fault)?;
    let thread = vm.thread(chunk).map_err(fault)?;
    let driven = vm.drive(thread, crate::job::answer(0));
    let refused = vm.job().as_ref().is_some_and(|job| job.refused);
    let fatal = match vm.job().as_ref().and_then(|job| job.fatal.clone()) {
        Some(Fatal::Failed(error)) => Some(error),
        _ => vm.watch.expired(),
    };
    if let Some(error) = fatal {
        return Ok(WorkflowInfo { raised: Some(problem(&error)), ..WorkflowInfo::default() });
    }
    let (status, value, traceback) = driven.map_err(fault)?;
    match (status, value) {
        (1, Value::Table(table)) if looks_like_workflow(&table) => describe(&table, &vm.marks),
        (2, thrown) if !refused => {
            let error = to_error(&thrown, traceback, &vm.marks);
            Ok(WorkflowInfo { raised: Some(problem(&error)), ..WorkflowInfo::default() })
        }
        _ => Ok(WorkflowInfo::default()),
    }
}

/// Whether a table that a chunk returns is meant as a workflow: it has `run`, or a schema or phases for one.
fn looks_like_workflow(table: &Table) -> bool {
    let has = |name: &str| !matches!(table.raw_get(name), Ok(Value::Nil) | Err(_));
    has("run") || (has("name") || has("description")) && (has("args") || has("phases"))
}

/// Reads a workflow's table: all that is wrong with it, where anything is.
fn describe(table: &Table, marks: &Marks) -> Result<WorkflowInfo, Vec<Problem>> {
    let field = |name: &str| table.raw_get::<Value>(name).unwrap_or(Value::Nil);
    let mut problems = Vec::new();
    let mut wrong = |message: String| problems.push(Problem { line: None, message });
    let mut text = |name: &str| match field(name) {
        Value::Nil => None,
        Value::String(text) => Some(text.to_string_lossy()),
        other => {
            wrong(format!("`{name}` must be a string, and is {}", other.type_name()));
            None
        }
    };
    let (name, description) = (text("name"), text("description"));
    if name.as_deref().is_some_and(|name| name.trim().is_empty() || name.len() > 200 || name.contains(['/', '\n'])) {
        wrong("`name` must be 1 to 200 bytes on one line, without `/`".into());
    }
    let phases = match field("phases") {
        Value::Nil => Some(Vec::new()),
        phases => to_json(&phases, "`phases`", marks, 1 << 16).ok().and_then(|json| json.to::<Vec<String>>().ok()),
    };
    if phases.is_none() {
        wrong("`phases` must be an array of strings".into());
    }
    let args_schema = match field("args") {
        Value::Nil => None,
        schema @ Value::Table(_) => match to_json(&schema, "`args`", marks, 1 << 20) {
            Ok(schema) => {
                if let Err(why) = check_schema(&schema) {
                    wrong(format!("`args` is no valid JSON Schema: {why}"));
                }
                Some(schema)
            }
            Err(bad) => {
                wrong(bad.message);
                None
            }
        },
        other => {
            wrong(format!("`args` must be a table (a JSON Schema), and is {}", other.type_name()));
            None
        }
    };
    match field("run") {
        Value::Function(_) => {}
        Value::Nil => wrong("`run` is missing: a workflow is a table with a function of that name".into()),
        other => wrong(format!("`run` must be a function, and is {}", other.type_name())),
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let phases = phases.unwrap_or_default();
    let is_workflow = true;
    Ok(WorkflowInfo { name, description, phases, args_schema, is_workflow, ..WorkflowInfo::default() })
}

/// An error as a problem, with the line that it names.
fn problem(error: &ErrorInfo) -> Problem {
    let detail = error.details.as_ref().and_then(|details| details.to_value()["line"].as_u64());
    let frame = error.traceback.as_deref().or(Some(&error.message)).and_then(|text| {
        let rest = text.split_once(':')?.1;
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<u64>().ok()
    });
    let line = detail.or(frame).and_then(|line| u32::try_from(line).ok());
    Problem { line, message: error.message.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_says_what_it_is() {
        let source = "local t = {name = 'n', description = 'd', phases = {'A', 'B'},
            args = {type = 'object', properties = {path = {type = 'string', default = '.'}}}, run = function() end} return t";
        let info = check("x", source).unwrap();
        assert_eq!((info.name.as_deref(), info.description.as_deref()), (Some("n"), Some("d")));
        assert_eq!((info.phases.len(), info.is_workflow, info.raised), (2, true, None));
        let schema = info.args_schema.unwrap();
        assert_eq!(schema.as_str(), r#"{"properties":{"path":{"default":".","type":"string"}},"type":"object"}"#);
    }

    #[test]
    fn a_script_that_acts_is_a_job_by_itself() {
        for source in
            ["exec('rm') error('not reached')", "return 1", "sleep(1)", "print('x') return {}", "step('s', print)"]
        {
            let info = check("x", source).unwrap();
            assert_eq!((info.is_workflow, info.raised), (false, None), "{source}");
        }
        let raised = check("x", "local a = nil\nreturn a.b").unwrap().raised.unwrap();
        assert_eq!((raised.line, raised.message.as_str()), (Some(2), "x:2: attempt to index nil with 'b'"));
        let raised = check("x", "while true do end").unwrap().raised.unwrap();
        assert!(raised.message.contains("without an operation"));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_line() {
        type Said<'a> = &'a [(Option<u32>, &'a str)];
        let cases: [(&str, Said<'_>); 7] = [
            ("return {\n  run = function( end }", &[(Some(2), "Expected identifier")]),
            ("return {name = 1, run = print}", &[(Some(1), "`name` must be a string")]),
            ("return {\nphases = 'x', run = print}", &[(Some(2), "`phases` must be an array of strings")]),
            ("return {args = {type = 'nonsense'}, run = print}", &[(Some(1), "`args` is no valid JSON Schema")]),
            ("return {run = 1}", &[(Some(1), "`run` must be a function, and is integer")]),
            ("return {name = 'n', args = {type = 'object'}}", &[(None, "`run` is missing")]),
            (
                "return {\n  name = {},\n  phases = 1,\n  args = {type = 'x'},\n  run = 'y',\n}",
                &[(Some(2), "`name`"), (Some(3), "`phases`"), (Some(4), "`args`"), (Some(5), "`run`")],
            ),
        ];
        for (source, expected) in cases {
            let problems = check("x", source).unwrap_err();
            assert_eq!(problems.len(), expected.len(), "{problems:?}");
            for (problem, (line, message)) in problems.iter().zip(expected) {
                assert_eq!(problem.line, *line, "{problems:?}");
                assert!(problem.message.contains(message), "{problems:?}");
            }
        }
    }

    #[test]
    fn what_is_likely_a_mistake_is_a_warning() {
        let info = check(
            "x",
            "return { run = function(args)\n  exce('ls')\n  return json.encod(args), flow, budget.spent()\nend, x = function()\n  return require('markdwn'), require('markdown')\nend }",
        );
        let info = info.unwrap();
        let warnings: Vec<_> = info.warnings.iter().map(|w| (w.line, w.message.as_str())).collect();
        let expected = [
            (Some(2), "unknown global `exce`: did you mean `exec`?"),
            (Some(3), "`json` has no `encod`: did you mean `encode`?"),
            (Some(5), "there is no module `markdwn`; there are agents, findings, git, markdown, sources, web"),
        ];
        assert_eq!(warnings, expected);
    }

    #[test]
    fn built_in_workflows_give_no_warnings() {
        for entry in super::super::Library::new(vec![]).list() {
            let super::super::Entry::Workflow(workflow) = entry else { panic!("{entry:?}") };
            assert_eq!(check(&workflow.name, &workflow.source).unwrap().warnings, vec![], "{}", workflow.name);
        }
    }
}
