"""The exit statuses of all commands. The help of `audio-gateway` and the runbook list them."""

DONE = 0
FAILED = 1
MISUSED = 2
INTERRUPTED = 130

STATUSES = {
    DONE: "success",
    FAILED: "the command failed, the check found a problem, or the reader of the output closed it",
    MISUSED: "the command line or the settings are wrong",
    INTERRUPTED: "interrupted with Ctrl-C",
}
