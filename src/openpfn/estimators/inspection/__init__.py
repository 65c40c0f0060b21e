"""What moves a prediction, and what the network makes of a row: Shapley values, embeddings."""
