"""The nouns: frames, features, state, events, clocks, errors, configuration.

Nothing here does I/O or reads a clock, and everything above imports it.
"""
