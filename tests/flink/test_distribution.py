"""Unpacking of Flink's Python packages, from archives made here."""

import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from flink import distribution
from flink.errors import InstallError

PARTS = {
    "deps/bin/jobmanager.sh": b"#!/bin/sh\n",
    "deps/bin/taskmanager.sh": b"#!/bin/sh\n",
    "deps/bin/bash-java-utils.jar": b"PK",
    "deps/lib/flink-dist-9.8.7.jar": b"PK",
    "deps/opt/flink-python-9.8.7.jar": b"PK",
    "README.md": b"",
}


def sdist(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(f"apache-flink-9.8.7/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def wheel(path: Path, members: dict[str, bytes]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("deps/", "pyflink/"), content)


@pytest.mark.parametrize(("pack", "suffix"), [(sdist, ".tar.gz"), (wheel, ".whl")])
def test_both_kinds_of_package_give_the_same_tree(
    pack: object, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def download(version: str, into: Path) -> None:
        into.mkdir()
        assert callable(pack)
        pack(into / f"apache_flink_libraries-{version}{suffix}", PARTS)

    monkeypatch.setattr(distribution, "_download", download)
    home = distribution.install("9.8.7", tmp_path / "cache")
    assert home == tmp_path / "cache" / "flink-9.8.7"
    tree = {str(path.relative_to(home)): path.read_bytes() for path in home.rglob("*") if path.is_file()}
    assert tree == {name.removeprefix("deps/"): PARTS[name] for name in list(PARTS)[:4]}
    assert (home / "bin" / "jobmanager.sh").stat().st_mode & 0o111
    monkeypatch.setattr(distribution, "_download", None)
    assert distribution.install("9.8.7", tmp_path / "cache") == home


def test_packages_without_a_cluster_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(version: str, into: Path) -> None:
        into.mkdir()
        wheel(into / "apache_flink.whl", {"deps/bin/jobmanager.sh": b""})

    monkeypatch.setattr(distribution, "_download", download)
    with pytest.raises(InstallError, match=r"lack bin/bash-java-utils\.jar, bin/taskmanager\.sh, lib/flink-dist-9\.8"):
        distribution.install("9.8.7", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_member_that_points_outside_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def download(version: str, into: Path) -> None:
        into.mkdir()
        wheel(into / "apache_flink.whl", {"deps/bin/../../../evil.sh": b""})

    monkeypatch.setattr(distribution, "_download", download)
    with pytest.raises(InstallError, match="points outside"):
        distribution.install("9.8.7", tmp_path)


def test_the_cache_follows_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEPHRITE_CACHE", "/a/b")
    assert distribution.cache_folder() == Path("/a/b")
    monkeypatch.delenv("NEPHRITE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", "/c")
    assert distribution.cache_folder() == Path("/c/nephrite")
