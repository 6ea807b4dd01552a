"""`streamer eval`: how good a bundle is on labelled videos, as it would have served them.

`videos` reads what is true, `serving` runs serving's own stages over a video's features,
`announced` reads the events that came of it, `tally` counts per video, `scores` makes metrics of
the counts, `run` does all of it for several bundles, and `report`, `tables` and `pictures` show it.
"""
