"""Know where we stand: quality on real tables beside peers, and speed."""
