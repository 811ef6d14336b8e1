"""Where the CPU of the in-process pipeline goes: a stopwatch around the functions that its stages call.

In: a block that runs the pipeline. Out: CPU seconds by stage, of whichever thread runs it. What is left of the process's CPU is
Beam's, and what wires the stages. Refuses to know what a stage does.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Final
from unittest.mock import patch

import pipelines.aggregate
import pipelines.direct
import transforms.carried_state
import transforms.carried_wide
import transforms.flows
from columns.enrich import Enricher
from pipelines.document_intake import DocumentIntake
from pipelines.intake import Intake
from stores.parquet.manifest import Manifest

STAGES: Final = (
    ("read", Intake, "take"),
    ("parse", DocumentIntake, "take"),
    ("enrich", Enricher, "enrich_many"),
    ("lay out", transforms.flows, "lay_out_lanes"),
    ("lane state", transforms.carried_state, "step"),
    ("wide state", transforms.carried_wide, "step_wide"),
    ("ledger", pipelines.direct, "step_ledger"),
    ("files", pipelines.aggregate, "write_aggregates"),
    ("commit", Manifest, "commit"),
)
"""Name of each stage, and where the function is looked up that does its work."""
REST: Final = "Beam"


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """CPU seconds by stage, which grow for the length of the block."""
    spent = {name: 0.0 for name, _, _ in STAGES}
    with ExitStack() as stack:
        for name, holder, function in STAGES:
            stack.enter_context(patch.object(holder, function, _timed(getattr(holder, function), name, spent)))
        yield spent


def _timed(function: Callable[..., Any], name: str, spent: dict[str, float]) -> Callable[..., Any]:
    def measured(*arguments: Any, **named: Any) -> Any:
        started = time.thread_time()
        try:
            return function(*arguments, **named)
        finally:
            spent[name] += time.thread_time() - started

    return measured
