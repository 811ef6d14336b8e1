"""Synthetic exporters with an exact answer: scenarios in, datagrams or batches out, and what they must add up to."""
