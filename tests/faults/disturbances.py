"""What can go wrong."""

from __future__ import annotations

from enum import StrEnum


class Disturbance(StrEnum):
    """What goes wrong."""

    KILL = "kill"
    """SIGKILL of a worker."""
    STOP = "stop"
    """SIGSTOP of a worker for longer than the lease."""
    REDIS = "redis"
    """SIGKILL of the server, or of a master, and its restart."""
    TORN = "torn"
    """The same with the last write torn."""
    LOST = "lost"
    """The same with the last writes lost whole, acknowledged ones too."""
    PROMOTE = "promote"
    """The server dies; a replica that lags takes its place."""
    MIGRATE = "migrate"
    """A slot moves to another master."""
    WIRE = "wire"
    """Function calls are cut, delayed, swallowed: all the time, by the proxy's plan."""
    MEMORY = "memory"
    DISK = "disk"
    CLOCK = "clock"
    """The UTC clock of workers jumps by ten minutes."""
    SERVER_CLOCK = "server_clock"
    """That of the server does: leases go by it."""
    POISON = "poison"
    """An entry in the input log that no worker can use."""
    DEADLY = "deadly"
    """One that kills the worker that uses it."""


ROLLBACKS = {Disturbance.TORN, Disturbance.LOST, Disturbance.PROMOTE}
"""What undoes writes that were acknowledged."""
