"""Logs: JSON lines and limits."""

import io
import json
import logging

import pytest

from common.logs import JsonLines, Limited, Quieter, set_up_logs


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


def test_a_library_that_repeats_itself_is_held_back_and_others_are_not() -> None:
    now = 0.0
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.addFilter(Quieter(lambda: now))
    for moment in (0.0, 1.0, 9.9, 10.0):
        now = moment
        for name in ("kafka.net.manager", "kafka.cluster", "bus.draining"):
            logger = logging.Logger(name)
            logger.addHandler(handler)
            logger.error("%s is away", name)
    assert out.getvalue().splitlines() == [
        "kafka.net.manager is away",
        *["bus.draining is away"] * 3,
        "kafka.net.manager is away (5 more like this since the last line)",
        "bus.draining is away",
    ]


def test_the_services_hold_it_back() -> None:
    out = io.StringIO()
    before = logging.getLogger().handlers[:]
    try:
        set_up_logs("json", "warning", out)
        for _ in range(3):
            logging.getLogger("kafka.cluster").error("away")
    finally:
        logging.basicConfig(handlers=before, force=True)
    assert [json.loads(line)["message"] for line in out.getvalue().splitlines()] == ["away"]
