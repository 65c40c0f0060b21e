"""Tasks in files and streams, and the parts that priors are made of."""
