//! Which ended jobs have what lists filter by, so that a list reads none of those that others than it asks for have ended
//! before: rows of nothing but a key, in the order of the jobs' ids.
//!
//! ```text
//! v/i/<facet: 8 bytes of blake3><job id> -> nothing
//! ```
//! That a job completed, or was in the default queue, is true of most: there are no rows for that. Two facets may share
//! their bytes: whoever reads looks at the job too.

use super::{
    JobFilter, JobStatus,
    filter::{FilterParts, LabelFilter},
};
use crate::{
    id::{JobId, SessionId},
    storage::{Direction, Space, Storage, StorageError},
};
use std::ops::Bound;

const INDEX: &[u8] = b"v/i/";
const DEFAULT_QUEUE: &str = "default";
/// No id is greater.
const ID_MAX: [u8; 16] = [0xff; 16];

/// The beginning of the keys of a facet's rows.
pub(super) type FacetKey = [u8; 12];

/// Something that some jobs have.
enum Facet<'a> {
    Parent(JobId),
    Session(SessionId),
    Label(&'a str, &'a str),
    Status(JobStatus),
    Workflow(&'a str),
    Queue(&'a str),
}

impl Facet<'_> {
    fn key(&self) -> FacetKey {
        let mut hasher = blake3::Hasher::new();
        match self {
            Self::Parent(id) => hasher.update(b"p").update(id.as_bytes()),
            Self::Session(id) => hasher.update(b"s").update(id.as_bytes()),
            Self::Label(name, value) => {
                let length = (name.len() as u64).to_le_bytes();
                hasher.update(b"l").update(&length).update(name.as_bytes()).update(value.as_bytes())
            }
            Self::Status(status) => hasher.update(b"t").update(status.name().as_bytes()),
            Self::Workflow(name) => hasher.update(b"w").update(name.as_bytes()),
            Self::Queue(name) => hasher.update(b"q").update(name.as_bytes()),
        };
        let mut key = [0; 12];
        key[..4].copy_from_slice(INDEX);
        key[4..].copy_from_slice(&hasher.finalize().as_bytes()[..8]);
        key
    }
}

/// The keys of an ended job's rows.
pub(super) fn keys(id: &JobId, job: &FilterParts) -> Vec<Vec<u8>> {
    let mut facets = vec![Facet::Workflow(&job.workflow)];
    facets.extend(job.parent.map(Facet::Parent));
    facets.extend(job.session.map(Facet::Session));
    facets.extend(job.labels.iter().map(|(name, value)| Facet::Label(name, value)));
    if job.status != JobStatus::Completed {
        facets.push(Facet::Status(job.status));
    }
    if job.queue != DEFAULT_QUEUE {
        facets.push(Facet::Queue(&job.queue));
    }
    facets.iter().map(|facet| [&facet.key()[..], id.as_bytes()].concat()).collect()
}

/// The facet that leaves the fewest jobs to look at, where the filter has one: in the order of how many mostly share it.
pub(super) fn facet_of(filter: &JobFilter) -> Option<FacetKey> {
    let label = |label: &LabelFilter| label.value.is_some();
    let status = if filter.exhausted == Some(true) { Some(JobStatus::Failed) } else { filter.state };
    let facet = if let Some(parent) = filter.parent {
        Facet::Parent(parent)
    } else if let Some(session) = filter.session {
        Facet::Session(session)
    } else if let Some(LabelFilter { key, value: Some(value) }) = filter.labels.iter().find(|one| label(one)) {
        Facet::Label(key, value)
    } else if let Some(status) = status.filter(|status| *status != JobStatus::Completed) {
        Facet::Status(status)
    } else if let Some(workflow) = &filter.workflow {
        Facet::Workflow(workflow)
    } else {
        Facet::Queue(filter.queue.as_deref().filter(|queue| *queue != DEFAULT_QUEUE)?)
    };
    Some(facet.key())
}

/// At most `limit` ended jobs that have the facet, newest first, from behind `before` on.
pub(super) fn jobs_before(
    storage: &dyn Storage,
    facet: &FacetKey,
    before: Option<JobId>,
    limit: usize,
) -> Result<Vec<JobId>, StorageError> {
    let behind = |id: &[u8; 16]| Bound::Excluded([&facet[..], id].concat());
    let (from, to) = (Bound::Included(facet.to_vec()), behind(before.as_ref().map_or(&ID_MAX, JobId::as_bytes)));
    let rows = storage.scan(Space::Snapshots, from, to, Direction::Backward, limit)?;
    let id = |key: &[u8]| key.strip_prefix(facet).and_then(|id| id.try_into().ok()).map(JobId::from_bytes);
    Ok(rows.into_iter().filter_map(|(key, _)| id(&key)).collect())
}
