"""Composition roots: configuration → wiring → `main()`. Nothing else knows Redis and the model."""
