"""Callers as the world uses them: openai-node and curl."""
