"""From the rows of a results file to statements about them: statistics, summaries, pages."""
