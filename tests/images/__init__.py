"""What images and the compose file say, read as data; and the stack, run for real."""
