"""The microbenchmark of the paper, its figures, and benchmarks of single parts; driven by the lab and the CLI."""
