"""Settings of where things are: the bus, the store, the API, the logs."""

from typing import Literal

from pydantic import Field, SecretStr

from common.sections.section import Section


class Bus(Section):
    """Where batches go between ingest and pipeline."""

    url: str = Field("spool:", description="spool: (in data_dir), spool:/path, or kafka://host:9092,host:9092/topic.")
    lanes: int = Field(16, ge=1, le=4096, description="Lanes of the deployment; fixed for its life.")
    spool_bytes: int = Field(8 << 30, ge=1 << 20, description="The spool takes no more than this.")
    segment_bytes: int = Field(64 << 20, ge=1 << 16, description="A spool segment is closed at this size.")
    spool_when_full: Literal["refuse", "drop_oldest", "drop_newest"] = Field(
        "refuse", description="A full spool refuses batches with an error, or drops some and counts them."
    )
    fsync: bool = Field(True, description="Write spool entries through to the disk before they count as taken.")


class Store(Section):
    """Where documents are kept."""

    url: str = Field(
        "",
        pattern="^(elasticsearch://.+)?$",
        description="The Elasticsearch that a job on Flink writes to, elasticsearch://host:9200?option=value as for "
        "`nephrite setup`: questions, `setup`, `rollup`, `repair` and `retention` go there. Empty: the data folder, as with "
        "`--data-dir` on the command line.",
    )
    raw_days: float = Field(7, gt=0, description="Raw flow records are kept this many days.")
    aggregate_days: float = Field(365, gt=0, description="Minute aggregates are kept this many days.")
    hour_days: float = Field(1825, gt=0, description="Aggregates of hours are kept this many days.")
    day_days: float = Field(3650, gt=0, description="Aggregates of days are kept this many days.")
    ledger_days: float = Field(90, gt=0, description="The ledger, what came and what was lost per minute, is kept this many days.")
    raw_bytes: int = Field(0, ge=0, description="Oldest raw flow records go when all are larger; 0 leaves it to max_bytes.")
    aggregate_bytes: int = Field(0, ge=0, description="The same for minute aggregates.")
    hour_bytes: int = Field(0, ge=0, description="The same for hours.")
    day_bytes: int = Field(0, ge=0, description="The same for days.")
    ledger_bytes: int = Field(0, ge=0, description="The same for the ledger.")
    max_bytes: int = Field(
        50 << 30,
        ge=1 << 20,
        description="When all is larger, the oldest go: raw flow records first, then the ledger, minutes, hours, days.",
    )


class Query(Section):
    """Answering over HTTP (`nephrite serve`)."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8980, ge=0, le=65535, description="Port; 0 takes a free one.")
    with_up: bool = Field(True, description="`nephrite up` serves, too, where the port is free.")
    token: SecretStr = Field(
        SecretStr(""), description="Asked of every request, as bearer or as password of any user; empty asks for none."
    )


class Logs(Section):
    """Lines on standard error."""

    form: Literal["text", "json"] = Field("text", description="text for people, json for machines: one object per line.")
    level: Literal["debug", "info", "warning", "error"] = Field("warning", description="Nothing below this level is written.")
