"""For tests of this project and of what plugs into it: a manual clock, faults, contract suites.

Public: its names keep their meaning within a major version.
"""
