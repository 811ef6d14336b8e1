"""The embedded store: immutable Parquet files under one SQLite manifest, read through DuckDB."""
