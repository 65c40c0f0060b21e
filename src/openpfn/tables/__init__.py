"""Tables: load them, see how each column is read, turn them into numbers, split their rows."""
