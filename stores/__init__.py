"""Where documents are kept: one contract for readers, and per store its layout, writer and reader side by side."""
