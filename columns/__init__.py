"""The algorithms of the line: pure functions over columns, without Beam and without I/O."""
