"""Coverage-guided fuzzing of the decoder: whatever the octets, `feed` and `drain` return and state stays bounded.

Run for a minute, with the corpus of real packets as seeds:

    PYTHONPATH=.:proto python tests/fuzz/fuzz_decoder.py -max_total_time=60

Needs atheris; options are libFuzzer's. A crash leaves its input in a file `crash-*`, which is an argument for the next run.
"""

import importlib
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

_atheris: Final[Any] = importlib.import_module("atheris")


def main() -> None:
    """Fuzz until libFuzzer's options say stop."""
    with _atheris.instrument_imports(include=["ingest"]):
        from tests.fuzz.harness import check, write_seeds
    with tempfile.TemporaryDirectory() as folder:
        write_seeds(Path(folder))
        _atheris.Setup([*sys.argv, "-rss_limit_mb=2048", "-timeout=10", folder], check)
        _atheris.Fuzz()


if __name__ == "__main__":
    main()
