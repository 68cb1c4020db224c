"""Writes the form for the upstream, piece by piece."""


class FormWriter:
    """Writes one form. The boundary must not occur in any part, so callers must not be able to predict it."""

    def __init__(self, boundary: str) -> None:
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._open = f"--{boundary}\r\nContent-Disposition: form-data; name=".encode()
        self._close = f"--{boundary}--\r\n".encode()

    def field(self, name: str, value: bytes) -> bytes:
        """A complete text field."""
        return b'%b"%b"\r\n\r\n%b\r\n' % (self._open, _quoted(name), value)

    def file_head(self, filename: str, media_type: str) -> bytes:
        """The boundary and headers before the bytes of `file`."""
        return b'%b"file"; filename="%b"\r\nContent-Type: %b\r\n\r\n' % (
            self._open,
            filename.encode(),
            media_type.encode(),
        )

    def file_end(self) -> bytes:
        """The line break after the bytes of `file`."""
        return b"\r\n"

    def close(self) -> bytes:
        """The closing boundary, which completes the form."""
        return self._close


def _quoted(name: str) -> bytes:
    """A field's name as browsers write it (WHATWG HTML, multipart/form-data encoding algorithm).

    Backslashes are escaped as httpx does: most readers decode that, and one at the end would escape the closing quote.
    """
    return name.replace("\\", "\\\\").replace('"', "%22").encode()
