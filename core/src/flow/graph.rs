//! A flow's definition as a graph: names become indexes, and what cannot run is refused.

use super::definition::{FlowDefinition, Join, Trigger};
use std::collections::HashMap;

/// Why a flow is refused before its first step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowRefusal {
    /// Two steps have one id.
    #[error("two steps have the id `{id}`")]
    DuplicateStep {
        /// The id.
        id: String,
    },
    /// Two batches have one name.
    #[error("two batches have the name `{name}`")]
    DuplicateBatch {
        /// The name.
        name: String,
    },
    /// A step names one that is not there.
    #[error("step `{id}` names `{unknown}` in its {place}, and there is no such step")]
    UnknownStep {
        /// Who names it.
        id: String,
        /// Where.
        place: &'static str,
        /// What is not there.
        unknown: String,
    },
    /// A step names a batch that is not there.
    #[error("step `{id}` belongs to the batch `{unknown}`, and there is no such batch")]
    UnknownBatch {
        /// Who names it.
        id: String,
        /// What is not there.
        unknown: String,
    },
    /// A batch that lets nothing run.
    #[error("the batch `{name}` lets no step run: max_concurrent is a whole number from 1")]
    EmptyBatch {
        /// The batch.
        name: String,
    },
    /// Steps that wait for each other.
    #[error("the steps wait for each other: {}", .path.join(" -> "))]
    Cycle {
        /// Each waits for the one before it; the first is also the last.
        path: Vec<String>,
    },
}

impl FlowRefusal {
    /// A stable code.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::DuplicateStep { .. } | Self::DuplicateBatch { .. } => "flow_duplicate_id",
            Self::UnknownStep { .. } | Self::UnknownBatch { .. } => "flow_unknown_id",
            Self::EmptyBatch { .. } => "invalid_argument",
            Self::Cycle { .. } => "flow_cycle",
        }
    }
}

/// A step as the scheduler knows it. All numbers are indexes.
#[derive(Debug, Clone, Default)]
pub(super) struct Node {
    /// The steps it waits for, each once.
    pub deps: Vec<usize>,
    /// The steps that wait for it.
    pub dependants: Vec<usize>,
    pub trigger: Trigger,
    pub batch: Option<usize>,
    /// The steps of each case, where it is a switch.
    pub cases: Vec<Vec<usize>>,
    /// The switches that name it in one of their cases.
    pub switches: Vec<usize>,
}

/// A batch as the scheduler knows it.
#[derive(Debug, Clone)]
pub(super) struct BatchNode {
    pub max_concurrent: usize,
    pub join: Join,
    pub members: Vec<usize>,
}

/// A graph without a cycle.
#[derive(Debug, Clone, Default)]
pub(super) struct Graph {
    pub nodes: Vec<Node>,
    pub batches: Vec<BatchNode>,
}

impl Graph {
    pub fn new(definition: &FlowDefinition) -> Result<Self, FlowRefusal> {
        let ids = index_steps(definition)?;
        let (mut batches, batch_names) = index_batches(definition)?;
        let mut nodes: Vec<Node> = Vec::with_capacity(definition.steps.len());
        for (index, step) in definition.steps.iter().enumerate() {
            let find = |place: &'static str, name: &String| {
                ids.get(name.as_str()).copied().ok_or_else(|| FlowRefusal::UnknownStep {
                    id: step.id.clone(),
                    place,
                    unknown: name.clone(),
                })
            };
            let deps = step.deps.iter().map(|name| find("deps", name)).collect::<Result<Vec<_>, _>>()?;
            let cases = step.switch.iter().flat_map(|switch| &switch.cases);
            let cases = cases
                .map(|case| case.iter().map(|name| find("cases", name)).collect::<Result<Vec<_>, _>>())
                .collect::<Result<Vec<_>, _>>()?;
            let batch = match &step.batch {
                None => None,
                Some(name) => Some(
                    *batch_names
                        .get(name.as_str())
                        .ok_or_else(|| FlowRefusal::UnknownBatch { id: step.id.clone(), unknown: name.clone() })?,
                ),
            };
            if let Some(batch) = batch {
                batches[batch].members.push(index);
            }
            nodes.push(Node { deps, trigger: step.trigger, batch, cases, ..Node::default() });
        }
        // What a switch names waits for it: before it has chosen nobody knows whether the step runs.
        for switch in 0..nodes.len() {
            for named in nodes[switch].cases.concat() {
                if nodes[named].switches.last() != Some(&switch) {
                    nodes[named].switches.push(switch);
                    nodes[named].deps.push(switch);
                }
            }
        }
        let mut seen = vec![usize::MAX; nodes.len()];
        for index in 0..nodes.len() {
            nodes[index].deps.retain(|dep| std::mem::replace(&mut seen[*dep], index) != index);
            for dep in nodes[index].deps.clone() {
                nodes[dep].dependants.push(index);
            }
        }
        match find_cycle(&nodes) {
            Some(cycle) => {
                let path = cycle.into_iter().map(|index| definition.steps[index].id.clone()).collect();
                Err(FlowRefusal::Cycle { path })
            }
            None => Ok(Self { nodes, batches }),
        }
    }
}

fn index_steps(definition: &FlowDefinition) -> Result<HashMap<&str, usize>, FlowRefusal> {
    let mut ids = HashMap::with_capacity(definition.steps.len());
    for (index, step) in definition.steps.iter().enumerate() {
        if ids.insert(step.id.as_str(), index).is_some() {
            return Err(FlowRefusal::DuplicateStep { id: step.id.clone() });
        }
    }
    Ok(ids)
}

fn index_batches(definition: &FlowDefinition) -> Result<(Vec<BatchNode>, HashMap<&str, usize>), FlowRefusal> {
    let mut names = HashMap::new();
    let mut batches = Vec::with_capacity(definition.batches.len());
    for (index, batch) in definition.batches.iter().enumerate() {
        if batch.max_concurrent == 0 {
            return Err(FlowRefusal::EmptyBatch { name: batch.name.clone() });
        }
        if names.insert(batch.name.as_str(), index).is_some() {
            return Err(FlowRefusal::DuplicateBatch { name: batch.name.clone() });
        }
        batches.push(BatchNode { max_concurrent: batch.max_concurrent, join: batch.join, members: Vec::new() });
    }
    Ok((batches, names))
}

/// A cycle, from a step over those that it lets go on back to itself. Without recursion: a chain may be long.
fn find_cycle(nodes: &[Node]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        OnPath,
        Done,
    }
    let mut marks = vec![Mark::New; nodes.len()];
    for start in 0..nodes.len() {
        if marks[start] != Mark::New {
            continue;
        }
        // The path, each with how many of its dependants were looked at.
        let mut path = vec![(start, 0)];
        marks[start] = Mark::OnPath;
        while let Some((index, looked)) = path.last_mut() {
            let Some(next) = nodes[*index].dependants.get(*looked).copied() else {
                marks[*index] = Mark::Done;
                path.pop();
                continue;
            };
            *looked += 1;
            match marks[next] {
                Mark::Done => {}
                Mark::New => {
                    marks[next] = Mark::OnPath;
                    path.push((next, 0));
                }
                Mark::OnPath => {
                    let from = path.iter().position(|(index, _)| *index == next)?;
                    let mut cycle: Vec<usize> = path[from..].iter().map(|(index, _)| *index).collect();
                    cycle.push(next);
                    return Some(cycle);
                }
            }
        }
    }
    None
}
