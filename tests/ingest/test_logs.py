"""Logs: JSON lines and limits."""

import io
import json
import logging

import pytest

from common.logs import JsonLines, Limited


def test_json_lines_carry_level_logger_message_and_exception() -> None:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(JsonLines())
    logger = logging.Logger("ingest.test")
    logger.addHandler(handler)
    try:
        raise ValueError("inner\nlines")
    except ValueError:
        logger.exception("went %s", "wrong")
    (line,) = out.getvalue().splitlines()
    record = json.loads(line)
    assert (record["level"], record["logger"], record["message"]) == ("error", "ingest.test", "went wrong")
    assert record["time"].endswith("Z")
    assert "ValueError: inner" in record["exception"]


def test_a_limited_topic_speaks_once_a_period_and_counts_what_it_held_back(caplog: pytest.LogCaptureFixture) -> None:
    now = 0.0
    limited = Limited(logging.getLogger("limited"), 10.0, lambda: now)
    for _ in range(5):
        limited.warning("bus", "away")
    limited.warning("state", "full")
    now = 10.0
    limited.warning("bus", "away")
    now = 20.0
    limited.warning("bus", "away")
    assert caplog.messages == ["away", "full", "away (4 more like this since the last line)", "away"]
