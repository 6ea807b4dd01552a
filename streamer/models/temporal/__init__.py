"""Temporal models: features → outputs, one step at a time, with explicit state."""
