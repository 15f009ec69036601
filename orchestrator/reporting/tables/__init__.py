"""A study as tables for other programs: CSV, Parquet, data frames."""
