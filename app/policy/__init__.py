"""Decisions: numbers and `now` go in, a decision comes out. Pure."""
