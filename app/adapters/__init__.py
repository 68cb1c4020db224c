"""The outside world. Each module owns one library and fits the Protocols that the gateway declares."""
