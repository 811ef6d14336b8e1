"""The contract of the line: what travels between its parts, and nothing that computes.

Every other folder may import this one; it imports none of them.
"""
