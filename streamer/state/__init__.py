"""Stream state: the slot table a worker steps, and the stores that keep checkpoints."""
