"""The bundles that ship with the package, a folder each: data, not code."""
