"""Networks over sequences of rows."""
