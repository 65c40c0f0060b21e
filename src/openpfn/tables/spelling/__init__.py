"""How the dates, numbers and letters of a column are spelled."""
