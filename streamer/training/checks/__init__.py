"""What is wrong with a dataset, found before training starts.

`rows` looks at the table, `splits` at its parts, `media` at the videos; `check` runs all of them.
"""
