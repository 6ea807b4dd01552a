"""How frames, features, state and events move between workers.

`transport.py` holds the contracts, `codec.py` the bytes, one file per implementation the rest.
"""
