"""Processes of this machine: whether the one that left something behind is still there."""

import functools
import subprocess
import sys
from pathlib import Path


def start_of(pid: int) -> str | None:
    """Return when a process began, in words that only it has, or None where there is no such process.

    The number of a process is given again after its end: with its begin it is told from a later one.
    """
    if sys.platform == "win32":
        return _start_on_windows(pid)
    if Path("/proc/self/stat").exists():
        return _start_on_linux(pid)
    shown = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, begin = shown.stdout.strip().partition(" ")
    return begin.strip() if begin and not state.startswith("Z") else None


def is_running(pid: int) -> bool:
    """Whether there is a process of this number."""
    return start_of(pid) is not None


def _start_on_linux(pid):
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()  # the name in brackets may hold anything
    if fields[0] in "ZX":  # ended, and nobody has asked how
        return None
    return f"{_boot()} {fields[19]}"


@functools.cache
def _boot():
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "-"


def _start_on_windows(pid: int) -> str | None:
    import ctypes

    kernel: ctypes.CDLL = ctypes.windll.kernel32  # type: ignore[attr-defined,unused-ignore]
    kernel.OpenProcess.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(kernel.OpenProcess(0x1000, False, pid))
    if not handle:
        return None
    try:
        times = [ctypes.c_ulonglong() for _ in range(4)]
        code = ctypes.c_ulong()
        kernel.GetExitCodeProcess(handle, ctypes.byref(code))
        known = kernel.GetProcessTimes(handle, *(ctypes.byref(each) for each in times))
        return str(times[0].value) if known and code.value == 259 else None  # STILL_ACTIVE
    finally:
        kernel.CloseHandle(handle)
