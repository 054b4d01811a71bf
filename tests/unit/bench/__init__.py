"""What the benchmarks decide: slopes, promises, tables, plots."""
