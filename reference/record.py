"""The examples of `docs/events.md`, from a real run: `python -m reference.record`.

Cameras are rendered work cells. One is paused and resumed, the encoder is held for two seconds so
that frames are dropped, and another model takes over, which was trained without labels and
announces much. Takes three minutes.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from streamer.core.event import EventType

EXAMPLES = Path(__file__).with_name("events.json")
SCENE = "synthetic:workcell?seed=3&fps=10"
_STREAMER = [sys.executable, "-m", "streamer.cli.main"]


def main() -> None:
    """Run, and keep one event of each type: of an action and a phase, the confirmed one."""
    with tempfile.TemporaryDirectory(prefix="streamer-record-", dir="/tmp") as folder:
        os.environ["XDG_RUNTIME_DIR"] = folder
        bundle = _train(Path(folder))
        log = Path(folder) / "events.jsonl"
        with log.open("wb") as file:
            command = [*_STREAMER, "run", f"door={SCENE}", "--json"]
            run = subprocess.Popen(command, stdout=file, start_new_session=True)
            try:
                _disturb(run.pid, bundle)
            finally:
                run.send_signal(signal.SIGINT)
                run.wait()
        events = [json.loads(line) for line in log.read_text().splitlines()]
    EXAMPLES.write_text(json.dumps(_choose(events), indent=1, ensure_ascii=False) + "\n")


def _train(folder: Path) -> Path:
    """A model that has seen another scene, and may give 120 false alarms an hour."""
    command = [*_STREAMER, "fit", "--self-supervised", "synthetic:workcell?seed=8&realtime=false"]
    command += ["--minutes", "11", "--updates", "300", "--hidden", "24", "--analysis-fps", "10"]
    command += ["--false-alarms-per-hour", "120", "--name", "door", "--out", str(folder / "run")]
    subprocess.run(command, check=True)
    return folder / "run" / "bundle"


def _disturb(pid: int, bundle: Path) -> None:
    time.sleep(40)
    _streamer("streams", "pause", "door")
    time.sleep(3)
    _streamer("streams", "resume", "door")
    time.sleep(15)
    found = subprocess.run(
        ["pgrep", "-P", str(pid), "-f", "workers.encoder"],
        capture_output=True,
        check=True,
        text=True,
    )
    encoders = [int(word) for word in found.stdout.split()]
    for encoder in encoders:
        os.kill(encoder, signal.SIGSTOP)
    time.sleep(2)
    for encoder in encoders:
        os.kill(encoder, signal.SIGCONT)
    time.sleep(15)
    _streamer("models", "use", str(bundle))
    time.sleep(60)


def _streamer(*arguments: str) -> None:
    subprocess.run([*_STREAMER, *arguments], check=True)


def _choose(events: list[dict[str, object]]) -> dict[str, dict[str, object]]:
    """Of each type the one that says most."""

    def worth(event: dict[str, object]) -> tuple[bool, ...]:
        data = event["data"]
        assert isinstance(data, dict)
        return (
            data.get("status") == "confirmed",
            data.get("previous") is not None,
            data.get("reason") == "dropped",
            data.get("state") == "live",
        )

    chosen = {}
    for kind in EventType:
        of_kind = [event for event in events if event["type"] == kind]
        if not of_kind:
            raise SystemExit(f"record: the run gave no {kind}; run it again")
        chosen[str(kind)] = max(of_kind, key=worth)
    return chosen


if __name__ == "__main__":
    main()
