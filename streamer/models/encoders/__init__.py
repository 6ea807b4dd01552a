"""Encoders: batches of pictures → feature vectors. One protocol, a backend per file."""
