"""The HTTP API, a router per noun."""
