"""Where a reader begins that has no position yet, as the operator says it.

In: text of `pipeline.start`. Out: a `Start`. Refuses to know any bus.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from common.errors import UsageError
from common.times import parse_time

Word = Literal["earliest", "latest", "committed"]
_OFFSETS: Final = re.compile(r"\d{1,9}:\d{1,18}(,\d{1,9}:\d{1,18})*")

_WORDS: Final[Mapping[str, Word]] = {"earliest": "earliest", "latest": "latest", "committed": "committed"}


@dataclass(frozen=True, slots=True)
class Start:
    """`offsets` by partition where they were listed: those of other partitions are read from their beginning."""

    kind: Word | Literal["time", "offsets"] = "earliest"
    time_ms: int = 0
    offsets: Mapping[int, int] = field(default_factory=dict)


EARLIEST: Final = Start()


def parse_start(text: str, now_ms: int) -> Start:
    """earliest, latest, committed, a time (as common.times has it), or PARTITION:OFFSET,...; raises UsageError."""
    if text in _WORDS:
        return Start(_WORDS[text])
    if _OFFSETS.fullmatch(text):
        pairs = (pair.split(":") for pair in text.split(","))
        return Start("offsets", offsets={int(partition): int(offset) for partition, offset in pairs})
    try:
        return Start("time", parse_time(text, now_ms))
    except UsageError as error:
        raise UsageError(f"{text!r} is no start: give earliest, latest, committed, a time, or PARTITION:OFFSET,...") from error
