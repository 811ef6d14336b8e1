"""The demonstration: synthetic exporters over real UDP, the whole embedded line, and the answers beside what was sent.

Uses nothing but the `nephrite` command, as its reader would. Ends what it started and deletes its data.
"""

import json
import queue
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from rich.console import Console

NEPHRITE: Final = [sys.executable, "-m", "nephrite"]
SCENARIO: Final = "demo"
READY_S: Final = 60
FIRST_MARK_S: Final = 110
console: Final = Console(highlight=False)


def main() -> int:
    """0 when the stored totals are those that were sent."""
    folder = Path(tempfile.mkdtemp(prefix="nephrite-demo-"))
    try:
        return demonstrate(folder)
    except KeyboardInterrupt:
        console.print("stopped")
        return 1
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def demonstrate(folder: Path) -> int:
    """Starts the line, sends, waits for the first mark, shows the answers, checks the totals."""
    port = free_port()
    expected = folder / "expected.json"
    console.rule("[bold]Nephrite: exporters -> UDP -> ingest -> bus -> Beam pipeline -> Parquet -> answers")
    with running(["up", "--data-dir", str(folder / "data"), "--listen", f"127.0.0.1:{port}"]) as lines:
        wait_for_ready(lines)
        console.print(f"listening on UDP 127.0.0.1:{port}; synthetic exporters start sending NetFlow v5, v9, IPFIX and sFlow")
        seconds = 70 - time.time() % 60
        generate = ["generate", SCENARIO, "--to", f"udp://127.0.0.1:{port}", "--duration", f"{seconds:.0f}"]
        sender = subprocess.run([*NEPHRITE, *generate, "--expect", str(expected)], check=False)
        if sender.returncode:
            return sender.returncode
        busiest = wait_for_first_mark(folder / "data")
        show(folder / "data", busiest)
        return compare(folder / "data", json.loads(expected.read_text()))


@contextmanager
def running(arguments: list[str]) -> Iterator["queue.Queue[str]"]:
    """A `nephrite` service and the lines that it prints; it is stopped at the end."""
    process = subprocess.Popen([*NEPHRITE, *arguments], stderr=subprocess.PIPE, text=True)
    lines: queue.Queue[str] = queue.Queue()
    assert process.stderr is not None
    threading.Thread(target=pass_on, args=(process.stderr, lines), daemon=True).start()
    try:
        yield lines
    finally:
        process.terminate()
        process.wait(30)


def pass_on(stream: Iterable[str], lines: "queue.Queue[str]") -> None:
    """What a service says, line by line."""
    for line in stream:
        lines.put(line)


def wait_for_ready(lines: "queue.Queue[str]") -> None:
    """Until ingest and pipeline have both said so; what they say otherwise is shown."""
    waiting = {"ingest", "pipeline"}
    until = time.monotonic() + READY_S
    while waiting:
        try:
            line = lines.get(timeout=max(0.1, until - time.monotonic())).strip()
        except queue.Empty:
            raise SystemExit(f"not ready after {READY_S} s: {', '.join(sorted(waiting))}") from None
        said = {name for name in waiting if "ready" in line and name in line}
        waiting -= said
        if not said:
            console.print(line)


def wait_for_first_mark(data_dir: Path) -> dict[str, Any]:
    """The busiest interface, once the aggregates of the first minute are there."""
    until = time.monotonic() + FIRST_MARK_S
    with console.status("the first minute is written 10 s after its end ..."):
        while time.monotonic() < until:
            answer = ask(data_dir, "top", "interfaces", "-n", "3")
            if answer:
                return dict(answer[0])
            time.sleep(1)
    raise SystemExit("no aggregates came")


def show(data_dir: Path, busiest: dict[str, Any]) -> None:
    """The questions that one asks first, as tables."""
    where = ["--exporter", str(busiest["exporter"]), "--interface", str(busiest["interface"])]
    run("top", "interfaces", "--data-dir", str(data_dir))
    for what in ("applications", "hosts", "conversations"):
        console.rule(f"top {what} of the busiest interface")
        run("top", what, *where, "--data-dir", str(data_dir))
    console.rule("exporters")
    run("exporters", "--data-dir", str(data_dir))


def compare(data_dir: Path, expected: dict[str, Any]) -> int:
    """Flows and octets as exported, per exporter: stored, and sent."""
    stored = Counter[str]()
    octets = Counter[str]()
    with subprocess.Popen(
        [*NEPHRITE, "flows", "-n", "1000000", "--format", "ndjson", "--data-dir", str(data_dir)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as listing:
        assert listing.stdout is not None
        for flow in map(json.loads, listing.stdout):
            stored[flow["exporter"]] += 1
            octets[flow["exporter"]] += flow["bytes"] or 0
    found = {exporter: (flows, octets[exporter]) for exporter, flows in stored.items()}
    sent = {row["exporter"]: (row["flows"], row["bytes"]) for row in expected["delivered"]}
    if found == sent:
        sums = f"{stored.total():,} flows with {octets.total():,} bytes"
        console.print(f"[bold green]correct[/]: {sums} were exported, and exactly these are stored")
        return 0
    for exporter in sorted(sent.keys() | found.keys()):
        if found.get(exporter) != sent.get(exporter):
            console.print(f"[bold red]differs[/]: {exporter} sent {sent.get(exporter)}, stored {found.get(exporter)}")
    return 1


def ask(data_dir: Path, *question: str) -> Any:
    """The JSON answer to a question; an empty list while there is nothing to answer from."""
    done = subprocess.run(
        [*NEPHRITE, *question, "--data-dir", str(data_dir), "--format", "json"], capture_output=True, text=True, check=False
    )
    return json.loads(done.stdout)["rows"] if done.returncode == 0 and done.stdout.strip() else []


def run(*arguments: str) -> None:
    """A question whose table goes to the terminal."""
    subprocess.run([*NEPHRITE, *arguments], check=False)


def free_port() -> int:
    """A UDP port that nobody uses now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
