"""Add Debian's packages to a CycloneDX bill of materials of Python's, and print it.

Not in it: libraries inside wheels, as FFmpeg in PyAV's; their wheels are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

DISTRIBUTION = "debian-12"


def component(line: str) -> dict[str, Any]:
    """A CycloneDX component with a package URL, of a line of name, version and architecture.

    https://github.com/package-url/purl-spec/blob/main/types-doc/deb-definition.md
    """
    name, version, architecture = line.split("\t")
    query = f"arch={architecture}&distro={DISTRIBUTION}"
    purl = f"pkg:deb/debian/{quote(name)}@{quote(version)}?{query}"
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def main(python: Path, packages: Path) -> None:
    """Print both as one document.

    Args:
        python: CycloneDX, JSON.
        packages: Lines of name, version and architecture, with tabs between.
    """
    document = json.loads(python.read_text())
    document["components"] += [component(line) for line in packages.read_text().splitlines()]
    json.dump(document, sys.stdout, indent=1, sort_keys=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
