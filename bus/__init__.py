"""The bus: where ingest puts batches and the pipeline takes them, as files on disk, in memory, or in Kafka."""
