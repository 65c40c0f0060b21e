"""What synthetic tables are made of: noise, causes, graphs, columns, labels."""
