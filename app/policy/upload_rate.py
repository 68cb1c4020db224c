"""The lowest rate at which an upload may arrive, as seconds of credit.

Bytes add credit, waiting for the caller uses it up. The credit has a ceiling, so that a burst at the beginning does not
pay for hours of a byte now and then: the rate holds over each stretch of an upload, not only over all of it.
"""

# A caller that opens the upload before it has anything to send, such as one that records, has this long at first.
START_SECONDS = 5.0


class UploadRate:
    """The credit of one upload: how long the gateway waits for its next bytes."""

    __slots__ = ("_bytes_per_second", "_most", "seconds")

    def __init__(self, bytes_per_second: float, most_seconds: float) -> None:
        self._bytes_per_second = bytes_per_second
        self._most = most_seconds
        self.seconds = min(START_SECONDS, most_seconds)

    def waited(self, seconds: float) -> None:
        """Use up credit by the time for which the gateway waited for the caller."""
        self.seconds -= seconds

    def received(self, size: int) -> None:
        """Add credit for bytes that arrived."""
        self.seconds = min(self.seconds + size / self._bytes_per_second, self._most)
