"""Coverage-guided fuzzing: of the decoder with export packets of all protocols and of each, and of the reader of captures.

    python tests/fuzz/run.py                            all targets, five minutes each, two at a time
    python tests/fuzz/run.py decoder -max_total_time=60 one target, with libFuzzer's options

Needs atheris 3.0.0. A crash leaves its input in a file `crash-*`, which is an argument for the next run of that target.
"""

import importlib
import importlib.util
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

_ROOT: Final = Path(__file__).resolve().parents[2]
TARGETS: Final = ("decoder", "netflow5", "netflow9", "ipfix", "sflow5", "structures", "capture")
_AT_ONCE: Final = 2
_TIME: Final = "-max_total_time=300"


def main(arguments: list[str]) -> int:
    """Fuzz one target until libFuzzer's options say stop, or each for its time."""
    if importlib.util.find_spec("atheris") is None:
        sys.stderr.write("fuzzing needs atheris: pip install atheris==3.0.0\n")
        return 2
    if arguments and arguments[0] in TARGETS:
        _fuzz(arguments[0], arguments[1:] or [_TIME])
        return 0
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return max(abs(status) for status in pool.map(lambda target: _run(target, arguments), TARGETS))


def _run(target: str, arguments: list[str]) -> int:
    return subprocess.run([sys.executable, __file__, target, *(arguments or [_TIME])], check=False).returncode


def _fuzz(target: str, options: list[str]) -> None:
    sys.path[:0] = [str(_ROOT), str(_ROOT / "proto")]
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["ingest"]):
        harness = importlib.import_module("tests.fuzz.harness")
    with tempfile.TemporaryDirectory() as folder:
        harness.SEEDS[target](Path(folder))
        atheris.Setup([sys.argv[0], *options, "-rss_limit_mb=2048", "-timeout=20", folder], harness.CHECKS[target])
        atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
