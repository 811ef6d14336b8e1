"""The aggregation core, as those use it who carry its state: flows to parts, parts to a base, a base to documents.

In: FLOW batches of one lane. Out: bytes that may cross stages and sit in any state, and tables of documents. The meaning of every
number is in docs/explanation/numbers.md; no module behind this one reads a clock, a socket or a setting.
"""

from columns.absorb import absorb
from columns.combine import combine
from columns.emit import emit, series_documents
from columns.layout import LaidOut, lay_out, lay_out_lanes, lay_out_many
from columns.limits import Limits
from columns.marks import MARKS, due, mark_times
from columns.wide import contribution, emit_wide

__all__ = [
    "MARKS",
    "LaidOut",
    "Limits",
    "absorb",
    "combine",
    "contribution",
    "due",
    "emit",
    "emit_wide",
    "lay_out",
    "lay_out_lanes",
    "lay_out_many",
    "mark_times",
    "series_documents",
]
