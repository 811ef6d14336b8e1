"""Choosing and assembling the runner jar, with a Maven that only the test knows."""

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from flink import jobserver
from flink.errors import InstallError
from flink.jobserver import ASSEMBLED, MATCHED, described, merge_jars, runner_jar

RESIDUALS, (OLD, NEW) = next(iter(jobserver._EDITS.items()))
NOT_FOUND = "[ERROR] Could not find artifact org.apache.beam:x:jar:1 in central"
FakeMaven = Callable[[str], Path]


def jar(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def maven(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeMaven:
    """Puts an `mvn` on the PATH that appends its arguments to a log and runs the given shell lines."""

    def install(lines: str) -> Path:
        folder, log = tmp_path / "path", tmp_path / "mvn.log"
        folder.mkdir(exist_ok=True)
        script = folder / "mvn"
        script.write_text(f'#!/bin/sh\necho "$@" >> {log}\nfor a in "$@"; do last="$a"; done\nout=${{last#*=}}\n{lines}\n')
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
        return log

    return install


def test_the_matched_pair_is_taken_where_it_resolves(tmp_path: Path, maven: FakeMaven) -> None:
    log = maven('echo PK > "$out/beam-runners-flink-1.20-job-server-2.77.0.jar"')
    runner = runner_jar(tmp_path / "cache")
    assert runner.pair == MATCHED
    assert runner.path.read_text() == "PK\n"
    assert described(runner.path) == runner
    assert runner_jar(tmp_path / "cache") == runner
    assert len(log.read_text().splitlines()) == 1


def test_a_missing_pair_is_remembered_for_a_day_unless_asked_again(tmp_path: Path, maven: FakeMaven) -> None:
    lib = jar(tmp_path / "a.jar", {"A.class": b"a"})
    assemble = f'case "$*" in *copy-dependencies*) mkdir -p "$out"; cp {lib} "$out";; *) echo "{NOT_FOUND}"; exit 1;; esac'
    log = maven(assemble)
    cache = tmp_path / "cache"

    def asked() -> int:
        return log.read_text().count(MATCHED.artifact)

    assert [runner_jar(cache).pair for _ in range(2)] == [ASSEMBLED, ASSEMBLED]
    assert asked() == 1
    runner_jar(cache, retry=True)
    assert asked() == 2
    a_day_ago = (cache / "beam-runner-not-resolved.json").stat().st_mtime - jobserver.NEGATIVE_TTL_S
    os.utime(cache / "beam-runner-not-resolved.json", (a_day_ago, a_day_ago))
    runner_jar(cache)
    assert asked() == 3


def test_without_an_answer_nothing_is_remembered_but_what_is_there_is_used(tmp_path: Path, maven: FakeMaven) -> None:
    cache = tmp_path / "cache"
    maven('echo "[ERROR] connection refused"; exit 1')
    with pytest.raises(InstallError, match=r"mvn: connection refused"):
        runner_jar(cache)
    (cache / f"{ASSEMBLED.name}.jar").write_bytes(b"PK")
    (cache / f"{ASSEMBLED.name}.json").write_text("{}")
    assert runner_jar(cache).pair == ASSEMBLED
    assert not (cache / "beam-runner-not-resolved.json").exists()


def test_merged_jars_keep_all_services_and_no_signatures(tmp_path: Path) -> None:
    service = "META-INF/services/x.Registrar"
    one = jar(tmp_path / "1.jar", {"A.class": b"1", service: b"x.One\n", "META-INF/K.RSA": b"", "META-INF/K.SF": b""})
    two = jar(tmp_path / "2.jar", {"A.class": b"2", "B.class": b"2", service: b"x.Two", "dir/": b""})
    merge_jars([one, two], tmp_path / "merged.jar")
    with zipfile.ZipFile(tmp_path / "merged.jar") as merged:
        got = {name: merged.read(name) for name in merged.namelist()}
    assert got == {"A.class": b"1", "B.class": b"2", service: b"x.One\nx.Two\n"}


def test_the_residuals_class_is_edited_or_refused(tmp_path: Path) -> None:
    merge_jars([jar(tmp_path / "1.jar", {RESIDUALS: b"..." + OLD + b"()"})], tmp_path / "merged.jar")
    with zipfile.ZipFile(tmp_path / "merged.jar") as merged:
        assert merged.read(RESIDUALS) == b"..." + NEW + b"()"
    with pytest.raises(InstallError, match="libraries have changed"):
        merge_jars([jar(tmp_path / "2.jar", {RESIDUALS: b"..."})], tmp_path / "merged.jar")


def test_a_jar_without_its_description_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InstallError, match="no usable description"):
        described(jar(tmp_path / "x.jar", {}))
