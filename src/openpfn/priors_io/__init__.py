"""What tasks pass through on their way from a prior: streams, dumps, and the parts that tabular
priors share."""
