"""The committed protobuf code is what the pinned compiler makes of the .proto files."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

PROTO: Final = Path(__file__).parents[2] / "proto"


@pytest.mark.parametrize("name", ["flow_batch", "flowdocument"])
def test_generated_code_is_up_to_date(name: str, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO}", f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"]
        + [f"flowpb/{name}.proto"],
        check=True,
    )
    for suffix in ("_pb2.py", "_pb2.pyi"):
        assert (tmp_path / "flowpb" / f"{name}{suffix}").read_text() == (PROTO / "flowpb" / f"{name}{suffix}").read_text()
