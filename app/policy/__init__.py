"""Decisions: numbers and the current time go in, a decision comes out. Pure."""
