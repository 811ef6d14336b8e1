"""The one table of counters: name, labels, help; and the counters of a process.

In: increments from any part. Out: exact totals per (name, labels), for tests, for /metrics and for the ledger. Refuses names and
labels that are not in the table, so that nothing is counted that nobody documents.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True, slots=True)
class Metric:
    """One row of the table; label values come from closed sets, except `exporter`."""

    name: str
    help: str
    labels: tuple[str, ...] = ()
    kind: str = "counter"


METRICS: Final[tuple[Metric, ...]] = (
    Metric("ingest_datagrams_total", "datagrams taken from a socket or file", ("protocol",)),
    Metric("ingest_datagram_bytes_total", "their payload octets", ("protocol",)),
    Metric("ingest_flows_total", "flows decoded", ("protocol",)),
    Metric("ingest_option_records_total", "options data records decoded", ("protocol",)),
    Metric("ingest_problems_total", "sets, records and datagrams that cost themselves", ("reason",)),
    Metric("ingest_socket_drops_total", "datagrams that the kernel dropped before they were read", ()),
    Metric("ingest_datagrams_dropped_total", "datagrams read from a socket but not decoded", ("reason",)),
    Metric("ingest_connections_total", "TCP and TLS connections by how they ended, or never began", ("reason",)),
    Metric("ingest_socket_errors_total", "failed receive calls", ()),
    Metric("ingest_state_errors_total", "failed attempts to read or write the state file", ()),
    Metric("ingest_batches_total", "batches given to the bus", ()),
    Metric("ingest_batch_bytes_total", "their octets", ()),
    Metric("ingest_bus_errors_total", "failed attempts to give batches to the bus", ()),
    Metric("ingest_batches_lost_total", "batches that the bus had not taken when the service had to end", ()),
    Metric("ingest_flow_documents_total", "flows sent as OpenNMS documents, or not", ("result",)),
    Metric("ingest_sharing_errors_total", "failed attempts to share templates with other collectors", ()),
    Metric("ingest_dead_letters_total", "undecodable datagrams kept for a second look, or not", ("result",)),
    Metric("ingest_captures_total", "captures of watched folders: done, damaged (in part), refused, changed, failed", ("result",)),
    Metric("ingest_reloads_total", "attempts to bring a changed configuration into force", ("result",)),
    Metric("ingest_exporters", "exporters heard from in the last report period", (), "gauge"),
    Metric("ingest_queue_bytes", "datagrams that wait for decoding, in octets", (), "gauge"),
    Metric("ingest_waiting_batches", "closed batches that the bus has not acknowledged", (), "gauge"),
    Metric("bus_entries_total", "batches that the bus took", ("bus",)),
    Metric("bus_bytes_total", "their octets", ("bus",)),
    Metric("bus_dropped_total", "batches dropped because the spool was full or could not be written", ("reason",)),
    Metric("bus_spool_truncated_bytes_total", "octets of an unfinished or damaged end of a spool segment, cut off at start", ()),
    Metric("bus_spool_damaged_total", "closed spool segments whose rest was skipped because it is damaged", ()),
    Metric("bus_outages_total", "times that Kafka stopped taking batches and the spool took over", ()),
    Metric("bus_spilled_total", "batches put into the spool while Kafka could not take them", ()),
    Metric("bus_drained_total", "batches drained from the spool to Kafka", ()),
    Metric("bus_overtaken_total", "batches that Kafka refused after it had taken a newer one of their lane", ()),
    Metric("bus_connect_failures_total", "failed attempts to reach Kafka", ()),
    Metric("bus_drain_failures_total", "failed attempts to hand over what is to be drained", ()),
    Metric("bus_commit_failures_total", "positions that could not be recorded in Kafka for the lag", ()),
    Metric("pipeline_batches_total", "batches read from the bus", ()),
    Metric(
        "pipeline_batches_dropped_total",
        "batches not used, or offsets that the bus let go before they were read (gone)",
        ("reason",),
    ),
    Metric("pipeline_bus_replaced_total", "partitions found to be those of another bus, read from their beginning", ()),
    Metric(
        "pipeline_bus_errors_total",
        "runs that bus or receivers did not let through, tried again later",
        (),
    ),
    Metric("pipeline_unread_batches", "batches of a partition that are not read yet", ("partition",), "gauge"),
    Metric("pipeline_unread_seconds", "age of the newest batch that was read, where there are newer ones", ("partition",), "gauge"),
    Metric("pipeline_collectors", "collectors of a lane with a live lease", ("lane",), "gauge"),
    Metric("pipeline_flows_total", "flows read", ()),
    Metric(
        "pipeline_flows_judged_total",
        "flows whose interval was repaired (future, reversed), cut (saturated) or refused (late; ancient: for good)",
        ("reason",),
    ),
    Metric(
        "repair_attempts_total",
        "windows repaired, or their lane's documents (lane), or left (incomplete); repairs given up for now",
        ("result",),
    ),
    Metric("repair_flows_total", "late flows that repairs brought into the aggregates", ()),
    Metric("repair_documents_total", "aggregate documents written by repairs", ()),
    Metric("repair_waiting_flows", "late flows that wait for a repair of their windows", (), "gauge"),
    Metric("repair_waiting_windows", "windows of lanes that wait for a repair", (), "gauge"),
    Metric("pipeline_clipped_bytes_total", "octets moved to the horizon", ()),
    Metric("pipeline_rows_total", "shares given to lane state", ()),
    Metric("pipeline_documents_total", "aggregate documents written", ()),
    Metric("pipeline_raw_documents_total", "raw documents written", ()),
    Metric("pipeline_ledger_rows_total", "rows of the ledger written", ()),
    Metric("pipeline_points_total", "points of time series by what became of them", ("result",)),
    Metric("pipeline_flow_documents_total", "flows written as FlowDocuments of OpenNMS", ()),
    Metric("pipeline_hostnames_total", "addresses whose names were wanted, by how far reverse DNS came with them", ("result",)),
    Metric("pipeline_runs_total", "micro-batch runs committed", ()),
    Metric("pipeline_frontier_seconds", "receive time up to which a lane was read, as a Unix time", ("lane",), "gauge"),
    Metric("pipeline_lag_seconds", "how far that is behind the clock", ("lane",), "gauge"),
    Metric("pipeline_final_through_seconds", "end of the last window whose aggregates are final, as a Unix time", (), "gauge"),
    Metric("store_conflicts_total", "documents that Elasticsearch had already, or had a newer version of", ()),
    Metric("store_dead_letters_total", "documents that Elasticsearch refused for good, kept in nephrite_dead_letters-*", ()),
    Metric("store_requests_total", "bulk requests sent", ()),
    Metric("store_repeats_total", "documents that had to be sent again", ()),
    Metric("store_bytes_total", "octets of bulk requests", ()),
    Metric("rollup_windows_total", "hours and days made of shorter windows, or given up until the next start", ("level", "result")),
    Metric("rollup_forgotten_total", "partials deleted since nothing will be made of them again", ()),
    Metric("store_merges_total", "merges of small Parquet files, made or given up", ("result",)),
    Metric("store_expired_files_total", "Parquet files that were too old, or too much", ()),
    Metric("store_expired_bytes_total", "their octets", ()),
    Metric("inventory_source_failures_total", "failed attempts to ask a source of the inventory", ("source",)),
    Metric("inventory_source_age_seconds", "time since a source of the inventory last answered", ("source",), "gauge"),
    Metric("inventory_source_nodes", "nodes that a source of the inventory knows", ("source",), "gauge"),
)
BY_NAME: Final = {metric.name: metric for metric in METRICS}

Key = tuple[str, tuple[tuple[str, str], ...]]
_LABEL: Final = re.compile(r'(\w+)="([^"]*)"')


@dataclass(slots=True)
class Counters:
    """Totals of one process, or of one test."""

    totals: dict[Key, int] = field(default_factory=dict)

    def add(self, name: str, amount: int = 1, **labels: str) -> None:
        """Count `amount`; raises KeyError for a name, ValueError for labels, that the table does not have."""
        if set(labels) != set(BY_NAME[name].labels):
            raise ValueError(f"{name} has labels {BY_NAME[name].labels}, not {tuple(labels)}")
        if amount:
            key = (name, tuple(sorted(labels.items())))
            self.totals[key] = self.totals.get(key, 0) + amount

    def value(self, name: str, **labels: str) -> int:
        """Total under exactly these labels."""
        return self.totals.get((name, tuple(sorted(labels.items()))), 0)

    def sum(self, name: str) -> int:
        """Total over all labels."""
        return sum(total for (key, _), total in self.totals.items() if key == name)

    def as_map(self) -> Mapping[str, int]:
        """All totals as `name{label="value"}`, for exact comparison."""
        return {_render(key): total for key, total in sorted(self.totals.items())}


def rendered(name: str, **labels: str) -> str:
    """A metric with its labels as the keys of `as_map` have it."""
    return _render((name, tuple(sorted(labels.items()))))


def parsed(text: str) -> Key:
    """The inverse of `rendered`, for label values without quotes."""
    name, _, labels = text.partition("{")
    return name, tuple(_LABEL.findall(labels))


def _render(key: Key) -> str:
    name, labels = key
    return name + ("{" + ",".join(f'{k}="{v}"' for k, v in labels) + "}" if labels else "")
