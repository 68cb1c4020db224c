"""What commands, the admin API and reports share, without a web framework, a terminal or a database.

administration      callers, keys and the audit log, and the changes to them
configured_callers  the callers that the settings name
usage               usage reports, budget statuses and exported rows
reconciliation      unknown requests, and their resolution with what the provider billed
maintenance         integrity checks and pruning
documents           the JSON documents of all these
ports               the ledger's sessions, which an adapter implements
"""
