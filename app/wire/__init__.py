"""Formats on the wire: bytes in, events or values out. Pure.

framing, headers, redaction   HTTP: request heads, response headers, removing the provider key
multipart                     forms: a reader for callers' forms, a writer for ours
media                         audio containers: recognition and length
sse, usage, failure           responses: events, usage, errors with a success status
apikey, identifier            the gateway's own keys and ids
trace_context                 W3C trace headers
"""
