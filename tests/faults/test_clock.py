"""A running process's UTC clock jumps, and nothing else of it does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import pytest

from tests.faults.clock import SkewedClock

LOOK = """
import json, sys, threading, time
for _ in sys.stdin:
    utc, monotonic = time.time(), time.monotonic()
    time.sleep(0.05)
    threading.Event().wait(0.05)
    print(json.dumps([utc, monotonic, time.monotonic() - monotonic]), flush=True)
"""


@pytest.fixture
def clock(tmp_path):
    return SkewedClock(tmp_path)


def test_a_workers_clock_jumps_while_it_runs(clock):
    process = subprocess.Popen(
        [sys.executable, "-c", LOOK],
        env=os.environ | clock.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        for jump in (0, 600, -600, 0):
            clock.jump(jump)
            process.stdin.write("\n")
            process.stdin.flush()
            utc, monotonic, waited = json.loads(process.stdout.readline())
            assert utc - time.time() == pytest.approx(jump, abs=1)
            assert monotonic == pytest.approx(time.monotonic(), abs=1)
            assert 0.09 < waited < 1
        process.stdin.close()
