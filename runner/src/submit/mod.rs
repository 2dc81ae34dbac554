//! How a job comes in: the script is looked at, the arguments are checked, the key is looked up, the queue has room,
//! and `job.submitted` is durable before anybody is told.

mod child;
mod script;

pub(crate) use child::{ChildRequest, Parent};

use crate::{
    dispatcher::Message,
    inner::{Inner, stopping},
    locks::Locks,
    queue_places::{Counted, QueuePlace, QueuePlaces},
    request::{Submit, SubmitError, Submitted},
    runner::Runner,
};
use moonlog_core::{
    error_info::ErrorInfo,
    event::{Cause, EventBody, JobLimits, JobSubmitted, NewEvent, ParentRef, StreamId},
    id::{Hash, JobId},
    json::Json,
    log::{Append, AppendError, Expected},
    projection::JobState,
};
use moonlog_scripts::{WorkflowInfo, prepare_args};
use script::check_size;
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// What submissions have to agree upon among themselves, until the projections know of them.
#[derive(Default)]
pub(crate) struct Admission {
    /// Submissions with a key take turns with those whose key falls on the same of these.
    keys: Locks,
    /// What submissions under way take of their queues.
    places: QueuePlaces,
    /// What scripts said of themselves, by hash.
    checked: Mutex<HashMap<Hash, Arc<WorkflowInfo>>>,
    closed: AtomicBool,
}

/// When a submission's job may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begin {
    /// When the submission is durable, as whoever submits is told then.
    Durable,
    /// At once: nobody is told of the job before it has ended, and its first events share a sync with the submission.
    Ahead,
}

/// When a client whose job found its queue full should try again.
const RETRY_AFTER_MS: u64 = 1_000;

impl Admission {
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Takes nothing any more.
    pub(crate) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

impl Runner {
    /// Takes a job. It is durable when this returns.
    ///
    /// # Errors
    /// Why it was refused; nothing is recorded then.
    pub async fn submit(&self, request: Submit) -> Result<Submitted, SubmitError> {
        let inner = self.inner();
        let _history = match request.resume_from.is_some() || request.forked_from.is_some() {
            true => Some(inner.histories.read().await),
            false => None,
        };
        let Some(key) = request.idempotency_key.clone() else {
            return inner.admit(request, inner.new_id().into(), None, true).await;
        };
        // One submission with this key at a time: the second one finds what the first one has recorded.
        let _turn = inner.admission.keys.of(key.as_bytes()).lock().await;
        if let Some(first) = inner.views.idempotent(&key)? {
            return if first.request_hash == request.request_hash {
                Ok(Submitted { job: first.job, created: false })
            } else {
                Err(SubmitError::KeyReused { job: first.job })
            };
        }
        inner.admit(request, inner.new_id().into(), None, true).await
    }

    /// Takes a job, and waits until it has ended or `enough` comes. It is durable when this returns; nobody is told of it
    /// before, so where a place is free it begins while its submission is on its way to the disk.
    ///
    /// # Errors
    /// As [`Self::submit`].
    pub async fn submit_and_wait(
        &self,
        request: Submit,
        enough: impl Future<Output = ()>,
    ) -> Result<Submitted, SubmitError> {
        let inner = self.inner();
        if !request.may_begin_ahead() {
            let submitted = self.submit(request).await?;
            inner.until_ended(&submitted.job, enough).await?;
            return Ok(submitted);
        }
        let job = inner.new_id().into();
        let ended = inner.waiters.end_of(job);
        let Admitted { submitted, position } = inner.take(request, job, None, true, Begin::Ahead).await?;
        let ended_in_time = async {
            // Where nothing is folded any more, no end will be seen.
            if inner.waiters.applied(position).await {
                ended.await;
            }
        };
        tokio::select! {
            biased;
            () = ended_in_time => {}
            () = enough => {}
        }
        inner.applied_at_once(position).await?;
        Ok(submitted)
    }
}

impl Inner {
    /// Takes a job; it is durable and folded when this returns. `bounded`: where its queue has room.
    pub(crate) async fn admit(
        &self,
        request: Submit,
        job: JobId,
        parent: Option<Parent>,
        bounded: bool,
    ) -> Result<Submitted, SubmitError> {
        Ok(self.take(request, job, parent, bounded, Begin::Durable).await?.submitted)
    }

    async fn take(
        &self,
        request: Submit,
        job: JobId,
        parent: Option<Parent>,
        bounded: bool,
        begin: Begin,
    ) -> Result<Admitted, SubmitError> {
        if self.admission.is_closed() {
            return Err(SubmitError::Unavailable(stopping()));
        }
        let queue = request.queue.unwrap_or_else(|| "default".into());
        if !self.has_queue(&queue) {
            return Err(SubmitError::NoSuchQueue { name: queue });
        }
        if let Some(earlier) = &request.resume_from
            && self.views.job(earlier)?.is_none()
        {
            let message = format!("there is no job {earlier} to resume");
            return Err(SubmitError::Invalid(ErrorInfo::new("no_such_job", message)));
        }
        let script = self.script(request.what).await?;
        let args = request.args.unwrap_or_else(|| Json::from_written("{}".into()));
        check_size("args", args.as_str().len(), self.options.submit_max_bytes)?;
        let args = prepare_args(script.args_schema.as_ref(), &args).map_err(SubmitError::InvalidArgs)?;
        let place = if bounded { Some(self.take_place(&queue)?) } else { None };
        let nesting = parent.as_ref().map_or(self.options.nesting, |parent| parent.nesting);
        let cause = parent.as_ref().and_then(|parent| parent.position).map(Cause::At);
        let submitted = JobSubmitted {
            workflow: script.workflow,
            script_hash: script.hash,
            args,
            idempotency_key: request.idempotency_key,
            request_hash: request.request_hash,
            queue,
            priority: request.priority,
            run_at: request.run_at,
            limits: JobLimits { timeout_ms: request.timeout_ms, budget_tokens: request.budget_tokens, nesting },
            seed: request.forked_from.as_ref().map_or_else(|| seed_of(&job), |(_, seed)| *seed),
            parent: parent.map(|parent| ParentRef { job: parent.job, step: parent.step }),
            resume_from: request.resume_from,
            forked_from: request.forked_from.map(|(fork, _)| fork),
            concurrency_key: request.concurrency_key,
            retry: request.retry,
            labels: request.labels,
            session: request.session,
            imported: false,
        };
        self.keep_script(script.hash, &script.source)?;
        self.log.ready().await;
        let _in_session = match &request.session {
            Some(session) => Some(self.enter_session(session).await?),
            None => None,
        };
        let submitted = Arc::new(submitted);
        let event =
            NewEvent { cause, ..NewEvent::new(EventBody::JobSubmitted(submitted.clone())).session(request.session) };
        let of = |expected| Append::new(StreamId::Job(job), expected, vec![event]);
        let append = || match begin {
            Begin::Durable => self.log.append(of(Expected::NoStream)),
            // Its id was made for it.
            Begin::Ahead => self.log.append_unhurried(of(Expected::Fresh)),
        };
        let appended = match place {
            Some(place) => place.hand_over(append),
            None => append(),
        };
        let (position, time) = match appended {
            Ok(appended) => (appended.last_position, appended.time),
            // A child that its parent asked for before a restart.
            Err(AppendError::Conflict { .. } | AppendError::Closed { .. }) => {
                return Ok(Admitted { submitted: Submitted { job, created: false }, position: 0 });
            }
            Err(error) => return Err(error.into()),
        };
        match begin {
            // Whoever asks next, by key or by id, must find it.
            Begin::Durable => self.applied(position).await?,
            Begin::Ahead => self.tell(Message::Ahead(Box::new(JobState::queued(job, submitted, position, time)))),
        }
        Ok(Admitted { submitted: Submitted { job, created: true }, position })
    }

    /// Whether there is such a queue.
    pub(crate) fn has_queue(&self, name: &str) -> bool {
        name == "default" || self.options.queues.contains_key(name)
    }

    /// A place in a queue for a submission.
    fn take_place(&self, queue: &str) -> Result<QueuePlace, SubmitError> {
        let max = self.options.bounds.unended_jobs;
        let of_queue = |queue: &moonlog_core::projection::QueueState| queue.depth() + queue.running + queue.waiting;
        let unended: u64 = self.views.with(|all| all.queues().iter().map(|(_, queue)| of_queue(queue)).sum());
        if unended >= max {
            return Err(SubmitError::TooManyJobs { max, retry_after_ms: RETRY_AFTER_MS });
        }
        let capacity = self.options.queues.get(queue).cloned().unwrap_or_default().capacity;
        let counted = || {
            self.views.with(|all| Counted {
                applied: all.applied(),
                depth: all.queues().get(queue).map_or(0, |queue| queue.depth() as usize),
            })
        };
        self.admission.places.take(queue, capacity, counted).ok_or_else(|| SubmitError::QueueFull {
            queue: queue.to_owned(),
            capacity,
            retry_after_ms: RETRY_AFTER_MS,
        })
    }
}

/// A job that was taken.
struct Admitted {
    submitted: Submitted,
    /// The position of its `job.submitted`; 0 where it was there before.
    position: u64,
}

/// The seed of a job's randomness: it follows from the id, which is random. It has 53 bits, since readers of JSON may keep
/// numbers as doubles.
fn seed_of(job: &JobId) -> u64 {
    let hash = Hash::of(job.as_bytes());
    let mut seed = [0; 8];
    seed.copy_from_slice(&hash.as_bytes()[..8]);
    u64::from_le_bytes(seed) >> 11
}
