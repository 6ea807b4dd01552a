"""The gateway: events over HTTP.

`feed.py` reads the log once for all clients, `session.py` is one client, `routes/` is the API,
`server.py` the process around it.
"""
