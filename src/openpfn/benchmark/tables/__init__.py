"""Quality on real tables, beside peers."""
