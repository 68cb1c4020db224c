"""One try at the upstream: the form goes up as it arrives, the response comes down.

context             what all attempts at one upstream share
body                the form for the upstream, whose tail is held
response_mapping    what the upstream's response means for the caller
response_reader     reading the response, whole or event by event
result              how an attempt ends
attempt             all of it
"""
