"""How a member of an ensemble sees a table: columns, classes and targets in forms of its own."""
