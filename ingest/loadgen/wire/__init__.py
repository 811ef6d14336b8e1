"""Encoders, one file per protocol: columns to records and datagrams. They mirror the decoders and share no code with them."""
