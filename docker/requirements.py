"""Print what `pyproject.toml` requires, with some extras, as pip reads it.

So that installing the packages is a layer of its own, which a change of the code leaves alone.
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path


def main(extras: list[str]) -> None:
    """Print the requirements.

    Args:
        extras: For example `cpu` and `otel`.
    """
    project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
    optional = [one for extra in extras for one in project["optional-dependencies"][extra]]
    print(*project["dependencies"], *optional, sep="\n")


if __name__ == "__main__":
    main(sys.argv[1:])
