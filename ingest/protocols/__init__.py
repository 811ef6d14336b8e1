"""Wire formats, one file each: octets of a datagram in, headers and spans of sets, records and samples out; no I/O, no clock."""
