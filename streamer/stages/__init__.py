"""Pure, synchronous steps. They see no Redis, no event loop and no clock: time is an argument."""
