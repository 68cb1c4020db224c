"""The HTTP server: uvicorn, with subclasses of its server and of its HTTP/1.1 protocol.

uvicorn_server  runs the application until a signal stops it
protocol        one HTTP/1.1 connection: limits, deadlines, framing rules
handshake       TLS in front of the protocol
certificate     the server's certificate, which a reload replaces
reload          SIGHUP, and the file with a reload's result
process         garbage collector, open files, core dumps
"""
