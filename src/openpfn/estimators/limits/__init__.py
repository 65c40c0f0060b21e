"""What is done with tables beyond what a network was trained on, one file per limit: members that
see some columns, rows or classes, and answers put together of theirs."""
