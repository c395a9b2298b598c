"""The line that alternate.py reads, of the scripts that time one call."""

import statistics
import time


def report(title, call, runs):
    """Run so many times after two that warm up, and print the median; `call` returns when its work is done."""
    seconds = []
    for _ in range(2 + runs):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    milliseconds = [1000 * value for value in seconds[2:]]
    print(title)
    print(f"  whole   {statistics.median(milliseconds):.1f} ms (least {min(milliseconds):.1f})")
