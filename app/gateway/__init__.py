"""The request's way, one stage a module; `pipeline` is the whole of it on one screen.

Nothing here knows FastAPI, an HTTP client or a database: streams arrive as `AsyncIterator[bytes]`, and a stage declares
the one or two methods that it needs of the outside world as a Protocol, which an adapter fits.
"""
