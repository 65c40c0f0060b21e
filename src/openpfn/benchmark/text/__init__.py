"""Benchmark on tables with free text, beside peers that read text: the benchmark of tables with
other defaults, and a page that answers whether we are ahead."""
