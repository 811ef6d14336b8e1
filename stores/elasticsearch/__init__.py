"""The full store: Elasticsearch 8.19 and 9, raw documents and aggregates in daily indices."""
