"""What an operator does with a ledger, beside a running gateway or without one; the package above lists the modules."""
