"""How a worker runs: batching, waiting, health, signals. Knows no model library."""
