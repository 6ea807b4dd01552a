"""What the program says of itself: frozen records, and the observers that translate them."""
