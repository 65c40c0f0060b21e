"""Tasks on their way to training: streams and dumps."""
