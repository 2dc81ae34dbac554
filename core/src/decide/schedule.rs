//! Setting and removing a schedule.

use crate::{
    event::{EventBody, ScheduleRemoved, ScheduleSet},
    projection::ScheduleState,
};

/// Sets a schedule, or changes the one that is set. Setting it to what it is says nothing new.
pub fn decide_set_schedule(current: Option<&ScheduleState>, set: ScheduleSet) -> Vec<EventBody> {
    match current {
        Some(current) if *current.set == set => Vec::new(),
        _ => vec![EventBody::ScheduleSet(set)],
    }
}

/// Removes a schedule, where it is set. Its jobs go on.
pub fn decide_remove_schedule(current: Option<&ScheduleState>) -> Vec<EventBody> {
    current.map(|_| EventBody::ScheduleRemoved(ScheduleRemoved {})).into_iter().collect()
}
