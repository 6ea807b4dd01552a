"""Clients cut off at random have the whole log in the end. `make disconnects` does it at length."""

from __future__ import annotations

from tests.disconnects import run


def test_clients_cut_off_at_random_have_each_event_once():
    clients, entries = run(disconnects=150, seed=7, num_clients=8)
    assert len(entries) > 20
    assert sum(client.disconnects for client in clients) == 150
    for client in clients:
        assert client.events == entries
        assert not client.others
