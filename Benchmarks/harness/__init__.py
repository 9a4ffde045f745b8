"""What `run` and `growth` are made of."""
