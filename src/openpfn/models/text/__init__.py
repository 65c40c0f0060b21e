"""Networks that read the cells of a row as text: what the configuration `TextConfig` describes."""
