"""audio-gateway: the way of a request, stage by stage. This module imports nothing.

    receive             app.api.audio           a Call: the headers, and a body not yet read
    identify            app.gateway.auth        a Caller, known by a key of its own
    let in              app.gateway.entry       a Slot: `limits`, declared size, tags, `budgets` spent already
    read the form       app.gateway.intake      an Upload: model and container checked, the file still streaming
    admit               app.gateway.admission   a Permit: the hold on what it may cost, in all `budgets`
    relay               app.gateway.relay       `exchange`: the form up (`outbound`), the answer down (`verdict`)
    account             app.gateway.accounting  an Outcome: usage read, the row settled exactly once
    record              app.adapters.ledger     a durable row
    report              app.api.usage, app.cli  sums over the rows, and how budgets stand

`app.gateway.pipeline` is this table as code. `app.main` puts the parts together.
"""

__version__ = "0.1.0"
