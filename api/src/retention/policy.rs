//! Which ended jobs are kept no longer. Pure.

use moonlog_core::{event::DeleteReason, id::JobId, time::Timestamp};

/// An ended job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// The job.
    pub job: JobId,
    /// When it ended.
    pub at: Timestamp,
}

/// What is kept; what is not set is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// How long jobs are kept after their end, in milliseconds.
    pub max_age_ms: Option<u64>,
    /// How many ended jobs are kept.
    pub max_ended_jobs: Option<u64>,
    /// How large the store may be, in bytes.
    pub max_bytes: Option<u64>,
}

/// Puts the oldest ends first.
pub fn sort(ended: &mut [Ended]) {
    ended.sort_by_key(|ended| (ended.at, ended.job));
}

/// Those of the jobs, oldest ends first, that are too old or too many, with which of it; oldest ends first.
pub fn too_old_or_many(ended: &[Ended], limits: Limits, now: Timestamp) -> Vec<(JobId, DeleteReason)> {
    let too_many = limits.max_ended_jobs.map_or(0, |max| (ended.len() as u64).saturating_sub(max));
    let is_old = |ended: &Ended| limits.max_age_ms.is_some_and(|max| now.ms_since(ended.at) > max);
    let chosen = ended.iter().zip(0..).map_while(|(ended, nth)| match (is_old(ended), nth < too_many) {
        (true, _) => Some((ended.job, DeleteReason::Age)),
        (false, true) => Some((ended.job, DeleteReason::Count)),
        (false, false) => None,
    });
    chosen.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(seconds: &[u64]) -> Vec<Ended> {
        let one = |(n, second): (u8, &u64)| Ended {
            job: JobId::from_bytes([n; 16]),
            at: Timestamp::from_micros(0).plus_ms(1_000 * second),
        };
        let mut all: Vec<Ended> = (0..).zip(seconds).map(one).collect();
        sort(&mut all);
        all
    }

    #[test]
    fn the_oldest_ends_go_first() {
        use DeleteReason::{Age, Count};
        let now = Timestamp::from_micros(0).plus_ms(100_000);
        let all = ended(&[50, 10, 90, 30]);
        for (age, count, expected) in [
            (None, None, vec![]),
            (Some(1_000_000), Some(9), vec![]),
            (Some(69_999), None, vec![(1, Age), (3, Age)]),
            (Some(70_000), None, vec![(1, Age)]),
            (None, Some(3), vec![(1, Count)]),
            (None, Some(0), vec![(1, Count), (3, Count), (0, Count), (2, Count)]),
            (Some(80_000), Some(2), vec![(1, Age), (3, Count)]),
            (Some(0), Some(3), vec![(1, Age), (3, Age), (0, Age), (2, Age)]),
        ] {
            let limits = Limits { max_age_ms: age, max_ended_jobs: count, max_bytes: None };
            let chosen = too_old_or_many(&all, limits, now);
            let expected: Vec<_> = expected.into_iter().map(|(n, why)| (JobId::from_bytes([n; 16]), why)).collect();
            assert_eq!(chosen, expected, "{limits:?}");
        }
    }
}
