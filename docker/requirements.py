"""Print what `pyproject.toml` requires, with one extra, as pip reads it.

So that installing the packages is a layer of its own, which a change of the code leaves alone.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def main(extra: str) -> None:
    """Print the requirements.

    Args:
        extra: `cpu` or `gpu`.
    """
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    print(*project["dependencies"], *project["optional-dependencies"][extra], sep="\n")


if __name__ == "__main__":
    main(sys.argv[1])
