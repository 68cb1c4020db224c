"""audio-gateway: the request path, stage by stage. This module imports nothing.

    receive              app.api.audio                    the inbound request: headers, and a body not yet read
    authenticate         app.gateway.authentication       the caller, identified by its key
    admission control    app.gateway.admission_control    a concurrency lease; limits, declared size, spent budgets
    parse the upload     app.gateway.upload               model and container checked, the file still streaming
    reserve              app.gateway.reservation          an admission: a hold on the most that the request may cost
    attempt              app.gateway.upstream.attempt     the form goes up, the response comes down
    settle               app.gateway.settlement           usage read, the row settled exactly once, durably
    deliver              app.api.audio                    the response
    report               app.api.usage, app.cli           totals of the rows, and what is left of budgets

`app.gateway.pipeline` is this table as code. `app.main` composes the parts.
"""

__version__ = "0.1.0"
