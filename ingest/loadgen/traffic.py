"""True traffic: which flow records the exporters have to export in a slice of virtual time.

In: a scenario and a start time. Out: RECORD rows ordered by nothing in particular, a pure function of (scenario, start, slice).
Refuses to know packets and protocols. Short flows are drawn anew in every slice; long flows are a fixed pool, each cut and
exported once per active timeout at its own phase, so that the records of one long flow join without a gap. Of what an sFlow agent
sees, each row is one packet.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ingest.loadgen.hosts import Dice, make_hosts
from ingest.loadgen.records import RECORD, Ints, Rows
from ingest.loadgen.scenario import Exporter, Scenario
from ingest.loadgen.services import ICMP, ICMP6, SCTP, SERVICES, TCP, UDP

SLICE_MS: Final = 1000
_DSCP: Final = np.array([0, 0, 0, 0, 0, 0, 8, 10, 18, 26, 34, 46, 48], dtype=np.uint8)
_ECN: Final = np.array([0, 0, 0, 0, 0, 0, 0, 2, 2, 1, 3], dtype=np.uint8)
_FLAGS: Final = np.array([0x1B, 0x1B, 0x1B, 0x1F, 0x12, 0x02, 0x14], dtype=np.uint16)
_END_IDLE, _END_ACTIVE, _END_FIN = 1, 2, 3
_LONGEST_PACKET: Final = 1500
_TRANSPORT_OCTETS: Final = np.full(256, 8)  # UDP, ICMP
_TRANSPORT_OCTETS[[TCP, SCTP]] = 20, 12
_MOST_BYTES: Final = float(2**31)
_SHORT_STREAM, _LONG_STREAM, _POOL_STREAM, _HOST_STREAM = range(4)


Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class _Fleet:
    """Per exporter, as columns."""

    shares: Dice
    interfaces: Ints
    first_if: Ints
    direction: Ints
    active_ms: Ints
    idle_ms: Ints
    whole_start: Mask
    ipv6_share: npt.NDArray[np.float64]
    samples: Mask


class Traffic:
    """Draws the rows of slices; `exporters` are the scenario's fleet in order."""

    def __init__(self, scenario: Scenario, start_ms: int) -> None:
        self._scenario = scenario
        self._start_ms = start_ms
        self._fleet = _columns_of(scenario.fleet())
        self._hosts = make_hosts(scenario.inside_hosts, scenario.outside_hosts, self._rng(_HOST_STREAM))
        self._inside = Dice.zipf(scenario.inside_hosts, scenario.host_skew)
        self._outside = Dice.zipf(scenario.outside_hosts, scenario.host_skew)
        self._services = Dice.zipf(len(SERVICES), scenario.service_skew)
        self._pool, self._phase = self._long_flows()

    def slice(self, number: int, length_ms: int = SLICE_MS) -> Rows:
        """Rows exported in slice `number`, that is [start + number x SLICE_MS, + length)."""
        begin = self._start_ms + number * SLICE_MS
        rng = self._rng(_SHORT_STREAM, number)
        expected = self._scenario.rate * length_ms / 1000 * (1 - self._scenario.long_share)
        rows = self._keys(int(expected) + int(rng.random() < expected % 1), rng)
        rows["export_ms"] = begin + rng.integers(0, length_ms, len(rows))
        self._end_short(rows, rng)
        self._measure(rows, rng)
        rows = np.concatenate([rows, self._cuts(number, begin, length_ms)])
        sampled = self._fleet.samples[rows["exporter"]]
        if sampled.any():
            rows[sampled] = _one_packet(rows[sampled])
        return rows

    def _rng(self, *stream: int) -> np.random.Generator:
        return np.random.default_rng([self._scenario.seed, *stream])

    def _keys(self, count: int, rng: np.random.Generator) -> Rows:
        """Rows with everything that stays the same over the life of a flow."""
        rows = np.zeros(count, dtype=RECORD)
        rows["exporter"] = self._fleet.shares.draw(rng, count)
        answers = rng.random(count) < 0.5
        self._choose_ends(rows, answers, rng)
        self._choose_service(rows, answers, rng)
        self._choose_path(rows, rng)
        rows["tos"] = (_DSCP[rng.integers(0, len(_DSCP), count)] << 2) | _ECN[rng.integers(0, len(_ECN), count)]
        tcp = rows["protocol"] == TCP
        rows["tcp_flags"] = np.where(tcp, _FLAGS[rng.integers(0, len(_FLAGS), count)], 0)
        return rows

    def _choose_ends(self, rows: Rows, answers: Mask, rng: np.random.Generator) -> None:
        """Hosts and what depends on them; where a flow `answers`, the server is its source."""
        hosts, count = self._hosts, len(rows)
        client = self._inside.draw(rng, count)
        server = np.where(rng.random(count) < 0.7, self._outside.draw(rng, count) + hosts.inside, self._inside.draw(rng, count))
        src, dst = np.where(answers, server, client), np.where(answers, client, server)
        six = rng.random(count) < self._fleet.ipv6_share[rows["exporter"]]
        for side, host in (("src", src), ("dst", dst)):
            rows[f"{side}_addr"] = np.where(six[:, None], hosts.v6[host], hosts.v4[host])
            rows[f"{side}_as"] = hosts.as_number[host]
            rows[f"{side}_mask"] = np.where(six, 48, hosts.mask4[host])
        rows["ip_version"] = np.where(six, 6, 4)

    def _choose_service(self, rows: Rows, answers: Mask, rng: np.random.Generator) -> None:
        count = len(rows)
        which = self._services.draw(rng, count)
        protocols, ports = np.array([p for _, p, _ in SERVICES]), np.array([p for _, _, p in SERVICES])
        unknown = rng.random(count) < self._scenario.unknown_share
        client = rng.integers(49_152, 65_536, count)
        server = np.where(unknown, rng.integers(49_152, 65_536, count), ports[which])
        rows["protocol"] = np.where(unknown, np.where(which % 2, UDP, TCP), protocols[which])
        ping = rng.random(count) < 0.01
        rows["protocol"][ping] = np.where(rows["ip_version"][ping] == 6, ICMP6, ICMP)
        rows["src_port"] = np.where(ping, 0, np.where(answers, server, client))
        rows["dst_port"] = np.where(ping, 0x0800, np.where(answers, client, server))

    def _choose_path(self, rows: Rows, rng: np.random.Generator) -> None:
        fleet, who, count = self._fleet, rows["exporter"], len(rows)
        interfaces = fleet.interfaces[who]
        way_in = (interfaces * rng.random(count) ** 2).astype(np.int64)
        way_out = (way_in + 1 + ((interfaces - 1) * rng.random(count) ** 2).astype(np.int64)) % interfaces
        rows["in_if"], rows["out_if"] = fleet.first_if[who] + way_in, fleet.first_if[who] + way_out
        rows["vlan"] = 100 + way_in % 3000
        direction = fleet.direction[who]
        rows["direction"] = np.where(direction == _BOTH, rng.integers(0, 2, count), direction)
        rows["next_hop"] = rows["dst_addr"]
        rows["next_hop"][:, 12:15] = (172, 16, 0)
        rows["next_hop"][:, 15] = way_out % 250 + 1

    def _end_short(self, rows: Rows, rng: np.random.Generator) -> None:
        """Times of flows that ended by themselves (soon exported) or fell silent (exported after the inactive timeout)."""
        count, who = len(rows), rows["exporter"]
        finished = (rows["protocol"] == TCP) & ((rows["tcp_flags"] & 5) != 0)
        delay = np.where(finished, rng.integers(0, 500, count), self._fleet.idle_ms[who] + rng.integers(0, 500, count))
        length = np.minimum(rng.lognormal(6.5, 2.0, count), self._fleet.active_ms[who] - 1).astype(np.int64)
        length[rng.random(count) < 0.3] = 0
        rows["last_ms"] = rows["export_ms"] - delay
        rows["first_ms"] = rows["delta_ms"] = rows["last_ms"] - length
        rows["flow_end_reason"] = np.where(finished, _END_FIN, _END_IDLE)

    def _measure(self, rows: Rows, rng: np.random.Generator) -> None:
        """Sizes after a Pareto law: most flows are a packet or two, a few carry most octets."""
        count = len(rows)
        packet = rng.choice(np.array([40, 52, 64, 120, 576, 1280, 1500]), count)
        octets = np.minimum(packet * (1.0 / (1.0 - rng.random(count))) ** (1 / 1.1), _MOST_BYTES)
        rows["packets"] = np.maximum(1, octets / packet).astype(np.uint64)
        rows["bytes"] = rows["packets"] * packet.astype(np.uint64) + rng.integers(0, 30, count).astype(np.uint64)

    def _long_flows(self) -> tuple[Rows, Ints]:
        """The pool of long flows and the time of each one's first cut: as many as give their share of the rate."""
        rng = self._rng(_POOL_STREAM)
        mean_s = float(np.mean(self._fleet.active_ms[self._fleet.shares.table])) / 1000
        pool = self._keys(int(self._scenario.rate * self._scenario.long_share * mean_s), rng)
        active = self._fleet.active_ms[pool["exporter"]]
        return pool, self._start_ms + (rng.random(len(pool)) * active).astype(np.int64)

    def _cuts(self, number: int, begin: int, length_ms: int) -> Rows:
        active = self._fleet.active_ms[self._pool["exporter"]]
        turn = (begin + length_ms - 1 - self._phase) // active
        due = (turn >= 0) & (self._phase + turn * active >= begin)
        rows: Rows = self._pool[due]
        rows["export_ms"] = rows["last_ms"] = self._phase[due] + turn[due] * active[due]
        rows["delta_ms"] = rows["last_ms"] - active[due]
        birth = self._phase[due] - active[due]
        rows["first_ms"] = np.where(self._fleet.whole_start[rows["exporter"]], birth, rows["delta_ms"])
        rows["flow_end_reason"] = _END_ACTIVE
        self._measure(rows, self._rng(_LONG_STREAM, number))
        rows["bytes"] *= np.uint64(100)
        rows["packets"] *= np.uint64(100)
        np.minimum(rows["bytes"], 2**32 - 1, out=rows["bytes"])
        np.minimum(rows["packets"], 2**32 - 1, out=rows["packets"])
        return rows


_BOTH: Final = 2
_DIRECTIONS: Final = {"ingress": 0, "egress": 1, "both": _BOTH, "unknown": 255}


def _columns_of(fleet: tuple[Exporter, ...]) -> _Fleet:
    """The fleet by columns; v5 knows ingress and IPv4 only."""
    five = [e.protocol == "netflow5" for e in fleet]
    return _Fleet(
        shares=Dice.weighted(np.array([e.share for e in fleet])),
        interfaces=np.array([e.interfaces for e in fleet]),
        first_if=np.array([e.first_if_index for e in fleet]),
        direction=np.array([0 if v5 else _DIRECTIONS[e.direction] for e, v5 in zip(fleet, five, strict=True)]),
        active_ms=np.array([e.active_timeout_s * 1000 for e in fleet]),
        idle_ms=np.array([e.inactive_timeout_s * 1000 for e in fleet]),
        whole_start=np.array([e.whole_flow_start for e in fleet]),
        ipv6_share=np.array([0.0 if v5 else e.ipv6_share for e, v5 in zip(fleet, five, strict=True)]),
        samples=np.array([e.protocol == "sflow" for e in fleet]),
    )


def _one_packet(rows: Rows) -> Rows:
    """Flows as a sampling agent sees them: one of their packets, of their mean size, when it passes."""
    least = np.where(rows["ip_version"] == 6, 40, 20) + _TRANSPORT_OCTETS[rows["protocol"]]
    rows["bytes"] = np.clip(rows["bytes"] // rows["packets"], least, _LONGEST_PACKET)
    rows["packets"] = 1
    for name in ("first_ms", "delta_ms", "last_ms"):
        rows[name] = rows["export_ms"]
    rows["flow_end_reason"] = 0
    return rows
