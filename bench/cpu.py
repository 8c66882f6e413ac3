"""What a process has cost, as the operating system counts it."""

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """CPU time of all its threads until now, its own and the kernel's for it."""
    # The name before the bracket may hold blanks. See proc_pid_stat(5): utime and stime.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
