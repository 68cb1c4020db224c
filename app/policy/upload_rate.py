"""The minimum rate of an upload, as seconds of credit.

Bytes add credit, and waiting for the caller uses it up. The credit has a maximum, so that a burst at the beginning does
not pay for hours of single bytes. The rate therefore holds over each part of an upload, not only over all of it.
"""

# The credit at the start, for callers that open the upload before they have data, such as a recorder.
START_SECONDS = 5.0


class UploadRate:
    """The credit of one upload: `seconds` is how long the gateway waits for its next bytes."""

    __slots__ = ("_bytes_per_second", "_most", "seconds")

    def __init__(self, bytes_per_second: float, most_seconds: float) -> None:
        self._bytes_per_second = bytes_per_second
        self._most = most_seconds
        self.seconds = min(START_SECONDS, most_seconds)

    def waited(self, seconds: float) -> None:
        """Uses up credit for the time that the gateway waited for the caller."""
        self.seconds -= seconds

    def received(self, size: int) -> None:
        """Adds credit for bytes that arrived."""
        self.seconds = min(self.seconds + size / self._bytes_per_second, self._most)
