"""Addresses: text and the 16-byte canonical form, as the contract has them."""

from flowpb.addresses import format_address, pack_address

__all__ = ["format_address", "pack_address"]
