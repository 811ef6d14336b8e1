"""Time series of interfaces for others: Graphite's plaintext protocol and Prometheus's remote write."""
