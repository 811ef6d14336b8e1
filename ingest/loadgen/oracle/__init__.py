"""The exact answer, computed flow by flow in the plainest way.

Written from docs/explanation/numbers.md alone; imports nothing of the product but its contract (flowpb). Slow on purpose.
"""
