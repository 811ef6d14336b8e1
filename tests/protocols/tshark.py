"""What tshark says is in a capture of export packets: flows and interface counters in columns of FLOW, to be compared with ours.

    PYTHONPATH=.:proto python -m tests.protocols.tshark CAPTURE            as JSON
    PYTHONPATH=.:proto python -m tests.protocols.tshark --compare CAPTURE  what Nephrite says otherwise

In: the text of `tshark -V`. Of biflows the forward half. Out: records in their order. Refuses to know how we decode.
"""

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final

from common.addresses import format_address
from common.config import Ingest
from common.metrics import Counters
from ingest.decoder import Decoder
from ingest.listeners.pcap import Capture

Said = dict[str, Any]
Read = Callable[[str], Any]
_PASSES: Final = (
    ((6343, "sflow"), (2055, "cflow"), (4739, "cflow"), (9995, "cflow")),
    ((6343, "cflow"), *((port, "data") for port in (2055, 4739, 9995, 9996))),
)
"""Which protocol is looked for on which ports: one pass each, since some send NetFlow to the port of sFlow."""
_NO_ADDRESS: Final = ("0.0.0.0", "::")
_ENDS: Final = frozenset(("src_addr", "dst_addr", "src_port", "dst_port"))
_FLOW: Final = re.compile(r"(Flow \d+|pdu \d+/\d+)$")
_SAMPLE: Final = re.compile(r"(Expanded flow|Flow) sample, seq \d+$")
_COUNTERS: Final = re.compile(r"Generic interface counters$")
_OTHER: Final = re.compile(
    r"(FlowSet \d+|Set \d+|(Expanded counters|Counters) sample, seq \d+|Ethernet interface counters|Frame \d+:.*)"
)


def _number(text: str) -> int:
    """The number in `6`, `TCP (6)`, `0x12` or `24 (prefix: 10.0.0.0/24)`."""
    inside = re.search(r"\((\d+)\)", text)
    word = inside.group(1) if inside else text.split()[0].rstrip(",")
    return int(word, 0)


def _interface(text: str) -> int | None:
    """An ifIndex; 0x3fffffff is none."""
    number = _number(text)
    return None if number == 0x3FFFFFFF else number


_NETFLOW: Final[dict[str, tuple[str, Read]]] = {
    "SrcAddr": ("src_addr", str),
    "DstAddr": ("dst_addr", str),
    "NextHop": ("next_hop", str),
    "SrcPort": ("src_port", _number),
    "DstPort": ("dst_port", _number),
    "InputInt": ("in_if", _number),
    "OutputInt": ("out_if", _number),
    "Packets": ("packets", _number),
    "Octets": ("bytes", _number),
    "Permanent Packets": ("packets", _number),
    "Permanent Octets": ("bytes", _number),
    "Protocol": ("protocol", _number),
    "IP ToS": ("tos", _number),
    "TCP Flags": ("tcp_flags", _number),
    "SrcAS": ("src_as", _number),
    "DstAS": ("dst_as", _number),
    "SrcMask": ("src_mask", _number),
    "DstMask": ("dst_mask", _number),
    "DSCP": ("tos", lambda text: _number(text) << 2),
    "Connection Client IPv4 Address": ("src_addr", str),
    "Connection Server IPv4 Address": ("dst_addr", str),
    "Connection Client Transport Port": ("src_port", _number),
    "Connection Server Transport Port": ("dst_port", _number),
    "Initiator Packets": ("packets", _number),
    "Initiator Octets": ("bytes", _number),
}
_SFLOW: Final[dict[str, tuple[str, Read]]] = {
    "Sampling rate": ("sampling_interval", lambda text: float(text.split()[3])),
    "Input interface (ifIndex)": ("in_if", _interface),
    "Output interface (ifIndex)": ("out_if", _interface),
    "Incoming 802.1Q VLAN": ("vlan", _number),
    "Outgoing 802.1Q VLAN": ("vlan_out", _number),
    "Frame Length": ("l2_bytes", _number),
    "Total Length": ("bytes", _number),
    "Time to Live": ("min_ttl", _number),
    "Protocol": ("protocol", _number),
    "Source Address": ("src_addr", str),
    "Destination Address": ("dst_addr", str),
    "Source Port": ("src_port", _number),
    "Destination Port": ("dst_port", _number),
}
_INTERFACE: Final[dict[str, tuple[str, Read]]] = {
    "Interface index": ("if_index", _number),
    "Interface Type": ("if_type", _number),
    "Interface Speed": ("speed", _number),
    "Interface Direction": ("direction", _number),
    **{
        f"{way}put {tshark}": (f"{way.lower()}_{ours}", _number)
        for way in ("In", "Out")
        for tshark, ours in (
            *(("Octets", "octets"), ("Packets", "unicast"), ("Multicast Packets", "multicast")),
            *(("Broadcast Packets", "broadcast"), ("Discarded Packets", "discards"), ("Errors", "errors")),
        )
    },
    "Input Unknown Protocol Packets": ("in_unknown", _number),
    "Promiscuous Mode": ("promiscuous", _number),
}


def said_by_tshark(capture: Path) -> tuple[list[Said], list[Said]]:
    """Flows and interface counters of a capture. Raises CalledProcessError if tshark cannot read it."""
    flows: list[Said] = []
    counters: list[Said] = []
    for ports in _PASSES:
        told = [argument for port, protocol in ports for argument in ("-d", f"udp.port=={port},{protocol}")]
        done = subprocess.run(["tshark", "-r", str(capture), "-V", "-n", *told], capture_output=True, check=True, text=True)
        for found, more in zip((flows, counters), parse(done.stdout.splitlines()), strict=True):
            found.extend(more)
    return flows, counters


def parse(lines: Iterable[str]) -> tuple[list[Said], list[Said]]:
    """Flows and interface counters in the text of `tshark -V`; of a field that comes twice the first, of addresses one that is set.

    Option records look like flows there: only what has ends is one.
    """
    flows: list[Said] = []
    counters: list[Said] = []
    record: Said = {}
    fields: dict[str, tuple[str, Read]] = {}
    for line in map(str.strip, lines):
        if _FLOW.match(line):
            record, fields = _begin(flows), _NETFLOW
        elif _SAMPLE.match(line):
            record, fields = _begin(flows), _SFLOW
        elif _COUNTERS.match(line):
            record, fields = _begin(counters), _INTERFACE
        elif _OTHER.match(line):
            fields = {}
        name, colon, text = line.rpartition(" = ")[2].partition(": ")
        if colon and name in fields and "Reverse" not in text:
            column, read = fields[name]
            if column not in record or record[column] in _NO_ADDRESS:
                record[column] = read(text)
    return [flow for flow in flows if _ENDS & flow.keys()], counters


def said_by_us(capture: Path) -> tuple[list[Said], list[Said]]:
    """The same of our decoder, flows in the order of the capture."""
    decoder = Decoder(Ingest(), 1, Counters())
    decoder.feed_many(list(Capture(capture, ()).datagrams()))
    flows = [_plain(row) for batch in decoder.drain().values() for row in batch.to_pylist()]
    return flows, [reading.counters._asdict() for reading in decoder.take_interface_readings()]


def differences(said: list[Said], ours: list[Said]) -> list[str]:
    """What tshark says and no record of ours has, in order; records of ours between, such as reverse halves, are passed over."""
    found: list[str] = []
    rest = iter(ours)
    for number, record in enumerate(said):
        nearest = _next(rest, record) or _next(rest := iter(ours), record)
        if nearest is None:
            close = min(ours, key=lambda one: sum(one.get(name) != value for name, value in record.items()), default={})
            wrong = {name: (value, close.get(name)) for name, value in record.items() if close.get(name) != value}
            found.append(f"record {number + 1}: {record}; nearest differs in {wrong}")
    return found


def _next(ours: Iterator[Said], record: Said) -> Said | None:
    return next((one for one in ours if all(one.get(name) == value for name, value in record.items())), None)


def _begin(records: list[Said]) -> Said:
    records.append({})
    return records[-1]


def _plain(row: Said) -> Said:
    addresses = ("src_addr", "dst_addr", "next_hop")
    return {name: format_address(value) if name in addresses and value is not None else value for name, value in row.items()}


def main(arguments: list[str]) -> int:
    """Print what tshark says, or where we differ from it; 1 if we do."""
    capture = Path(arguments[-1])
    said = said_by_tshark(capture)
    if arguments[0] != "--compare":
        sys.stdout.write(json.dumps({"flows": said[0], "counters": said[1]}, indent=0) + "\n")
        return 0
    ours = said_by_us(capture)
    found = [line for theirs, own in zip(said, ours, strict=True) for line in differences(theirs, own)]
    sys.stdout.write(
        "\n".join([*found, f"{len(said[0])} flows and {len(said[1])} readings of tshark's, {len(found)} differ"]) + "\n"
    )
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
