"""The time of day."""

import time


def now_ms() -> int:
    """Returns milliseconds since the epoch, UTC."""
    return time.time_ns() // 1_000_000
