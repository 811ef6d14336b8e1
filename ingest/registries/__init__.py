"""Tables of information elements that come with the program (ingest/elements.py reads them); a package, so that it is installed."""
