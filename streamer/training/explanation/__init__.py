"""`streamer explain`: what a model looks at, and what goes on inside it while it watches.

`groups` makes groups of features, `shuffling` takes a group's meaning away, `importance` measures
what that costs; `gates` records the recurrent cells, `look` a model's way through one video; `run`
does all of it for a bundle, `pictures` and `report` show it.
"""
