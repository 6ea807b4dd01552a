"""Write the generated pages: `make generated`."""

from __future__ import annotations

from reference import DOCS, pages


def main() -> None:
    """Write those that are stale, and say which."""
    for path, text in pages().items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"docs/{path.relative_to(DOCS)}")


if __name__ == "__main__":
    main()
