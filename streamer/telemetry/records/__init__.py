"""Records of what happened, by who tells of it; `streamer.telemetry.observer` hears them.

Frozen, and one per batch where it is hot.
"""
