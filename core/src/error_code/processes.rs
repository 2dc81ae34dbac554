//! Of commands and processes.

use super::{
    ErrorCode,
    Place::*,
    Retryable::*,
    code,
};

pub(super) const CODES: &[ErrorCode] = &[
    code("arguments_too_large", &[Step, Tool, Process], &[], No, "The arguments and the environment are larger than the system takes.", "Use stdin or a file."),
    code("command_not_found", &[Step, Tool, Process, Http], &[400], No, "There is no such program.", "Install it, or give its path."),
    code("exit_nonzero", &[Tool], &[], No, "The command exited with another code than 0.", "Look at its output."),
    code("file_busy", &[Step, Tool, Process, Http], &[400], Yes, "The program's file is being written.", "Try again."),
    code("invalid_command", &[Step, Tool, Process, Http], &[400], No, "The command cannot be started as it is written.", "The message says why."),
    code("invalid_environment", &[Step, Tool, Process, Http], &[400], No, "A variable cannot be set.", "The message names it."),
    code("invalid_pattern", &[Step, Tool, Http], &[400], No, "The regular expression is none, or too large.", "The message says why."),
    code("killed_by_signal", &[Tool], &[], No, "A signal ended the command.", "Look at its output, and at `signal`."),
    code("log_unreadable", &[Step, Http, Tool], &[], No, "The recorded output cannot be read.", "Run `moonlog verify`."),
    code("no_such_directory", &[Step, Tool, Process, Http], &[400], No, "There is no such folder to run in.", "Make it first."),
    code("not_a_directory", &[Step, Tool, Process, Http], &[400], No, "What it is to run in is no folder.", "Name a folder."),
    code("not_executable", &[Step, Tool, Process, Http], &[400], No, "The file is no program.", "Begin a script with a line such as #!/bin/sh."),
    code("not_recorded", &[Step, Tool, Process], &[503], Yes, "The process was not started, since that could not be recorded.", "Look at GET /readyz."),
    code("out_of_memory", &[Step, Tool, Process], &[], Yes, "The system is out of memory.", "Try again later."),
    code("permission_denied", &[Step, Tool, Process, Http], &[400], No, "The server's user may not do that.", "Change the rights, or use another place."),
    code("process_exists", &[Http], &[409], No, "There is a process with this id already.", "Leave the id out."),
    code("process_exited", &[Http, Step, Tool], &[409], No, "The process has exited.", "There is nothing to signal."),
    code("process_host_lost", &[Step, Tool, Process], &[], Yes, "The process host does not work.", "Try again; look into the server's own log."),
    code("process_lost", &[Tool, Process], &[], No, "The server stopped while the process ran.", "Start it again."),
    code("shutting_down", &[Step, Tool, Process], &[503], Yes, "The server is shutting down: no process is started.", "Try again when it is back."),
    code("sleep_refused", &[Tool], &[], No, "Waiting by `sleep` is refused.", "Wait for a process with process_output."),
    code("spawn_failed", &[Step, Tool, Process], &[], No, "The system does not start the command.", "The message says why."),
    code("too_many_open_files", &[Step, Tool, Process], &[], Yes, "No file descriptors are left.", "Raise `ulimit -n`."),
    code("too_many_processes", &[Step, Tool, Process, Http], &[429], Yes, "As many processes run as may.", "Wait for some to end."),
    code("unknown_signal", &[Http, Step, Tool], &[400], No, "There is no such signal.", "Use terminate, kill, interrupt, or a name such as SIGHUP."),
];
