"""Networks adapted to the table that an estimator is fitted to."""
