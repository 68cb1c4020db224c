"""The request path, one stage a module. `pipeline` is the whole of it on one screen.

Nothing here knows FastAPI, an HTTP client or a database. Streams are `AsyncIterator[bytes]`, and `ports` declares what
the stages need from outside as Protocols, which adapters implement.
"""
