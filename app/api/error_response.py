"""An error as ASGI messages, for code that runs outside FastAPI."""

from starlette.types import Send

from app.errors import APIError


async def send_error(error: APIError, send: Send, *, close: bool = False, more_body: bool = False) -> None:
    """Sends the error's envelope; `close` asks the caller to close the connection.

    With `more_body` the response stays open, so that the rest of the upload can still be read.
    """
    body = error.envelope()
    headers = [*error.all_headers(), (b"content-length", b"%d" % len(body))]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": error.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": more_body})
