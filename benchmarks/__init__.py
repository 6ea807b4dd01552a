"""Measurements: always the bare parts beside the whole, in one run."""
