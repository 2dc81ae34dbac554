//! The memory of a process and of all that it has started.

/// What a process and everything below it hold, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Memory {
    /// What each has in memory, pages that several share counted for each.
    pub resident: u64,
    /// The same, with each shared page divided among those that share it.
    pub proportional: u64,
}

impl Memory {
    /// Of the process and its descendants; nothing of one that has ended.
    pub fn of(pid: u32) -> Self {
        let mut memory = Self::default();
        each_below(pid, &mut |pid| {
            memory.resident += kib(&format!("/proc/{pid}/status"), "VmRSS:") << 10;
            memory.proportional += kib(&format!("/proc/{pid}/smaps_rollup"), "Pss:") << 10;
        });
        memory
    }

    /// Both together.
    pub fn and(self, other: Self) -> Self {
        Self { resident: self.resident + other.resident, proportional: self.proportional + other.proportional }
    }
}

/// What a process and its descendants have in memory, in bytes.
pub fn resident_bytes(pid: u32) -> u64 {
    let mut resident = 0;
    each_below(pid, &mut |pid| resident += kib(&format!("/proc/{pid}/status"), "VmRSS:") << 10);
    resident
}

fn each_below(pid: u32, act: &mut impl FnMut(u32)) {
    act(pid);
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    for task in tasks {
        let text = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        text.split_whitespace().filter_map(|pid| pid.parse().ok()).for_each(|pid| each_below(pid, act));
    }
}

fn kib(file: &str, field: &str) -> u64 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(field)).unwrap_or_default();
    line.trim().trim_end_matches("kB").trim().parse().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn what_a_child_holds_counts() {
        let alone = Memory::of(std::process::id());
        assert!(alone.proportional > 0 && alone.proportional <= alone.resident, "{alone:?}");
        let mut child = Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        let of_child = resident_bytes(child.id());
        assert!(of_child > 0 && resident_bytes(std::process::id()) > of_child);
        drop(child.stdin.take());
        child.wait().unwrap();
    }
}
