"""Small leaves that every part may use: configuration, errors, clock, metrics, logs."""
