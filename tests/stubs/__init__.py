"""Stand-ins for the two neighbours of the gateway: the upstream that it calls, and callers that write exact bytes."""
