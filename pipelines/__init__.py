"""Programs that read like the diagram: sources, raw documents, aggregates, and the runners that drive them."""
