"""Packet bytes in, FlowBatches out: listeners, decoders, the batcher that closes batches, and the load generator."""
