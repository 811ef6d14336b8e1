"""A Flink distribution out of Python packages.

In: a version. Out: a folder with Flink's `bin`, `conf`, `lib` and `plugins`, unpacked once and then reused.
`apache-flink-libraries` carries the jars, `apache-flink` the shell scripts and the logging configuration; neither is
installed into the Python environment (their pins contradict Beam's), they are only downloaded and unpacked.
"""

import os
import re
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

from flink.errors import InstallError

PACKAGES = ("apache-flink-libraries", "apache-flink")
DOWNLOAD_TIMEOUT_S = 900

# a wheel has pyflink/lib/..., an sdist <name>-<version>/deps/lib/...; `opt` (Flink SQL, Python UDFs) is left out
_WANTED = re.compile(r"(?:^|/)(?:pyflink|deps)/((?:bin|conf|lib|plugins)/.+)$")


def cache_folder() -> Path:
    """Where downloads are kept: $NEPHRITE_CACHE, else nephrite below the user's cache folder."""
    chosen = os.environ.get("NEPHRITE_CACHE")
    if chosen:
        return Path(chosen).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache").absolute() / "nephrite"


def minor_version(version: str) -> tuple[int, int]:
    """(1, 16) of "1.16.3"."""
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


def install(version: str, cache: Path) -> Path:
    """Return `cache`/flink-`version`, downloading and unpacking it first if it is not there.

    Raises InstallError when the packages cannot be fetched or lack the parts a cluster needs.
    """
    home = cache / f"flink-{version}"
    if home.is_dir():
        return home
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".flink-") as scratch:
        downloads, unpacked = Path(scratch, "packages"), Path(scratch, "home")
        _download(version, downloads)
        for package in sorted(downloads.iterdir(), reverse=True):
            _unpack(package, unpacked)
        _check(unpacked, version)
        _publish(unpacked, home)
    return home


def _download(version: str, into: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(into)]
    command += [f"{package}=={version}" for package in PACKAGES]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as err:
        raise InstallError(f"flink {version}: no download within {DOWNLOAD_TIMEOUT_S} s; try again") from err
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:] or ["pip said nothing"]
        raise InstallError(f"flink {version}: pip cannot download {' and '.join(PACKAGES)}: {reason[0]}")


def _members(package: Path) -> Iterator[tuple[str, bytes]]:
    if package.suffix == ".whl":
        with zipfile.ZipFile(package) as wheel:
            for name in wheel.namelist():
                if _WANTED.search(name) and not name.endswith("/"):
                    yield name, wheel.read(name)
        return
    with tarfile.open(package) as sdist:
        for member in sdist:
            if member.isfile() and _WANTED.search(member.name):
                content = sdist.extractfile(member)
                assert content is not None  # isfile() holds
                yield member.name, content.read()


def _unpack(package: Path, into: Path) -> None:
    for name, content in _members(package):
        found = _WANTED.search(name)
        assert found is not None
        target = (into / found[1]).resolve()
        if not target.is_relative_to(into.resolve()):
            raise InstallError(f"{package.name}: member {name} points outside of the distribution")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        if target.parent.name == "bin":
            target.chmod(0o755)


def _check(home: Path, version: str) -> None:
    wanted = {"bin/jobmanager.sh", "bin/taskmanager.sh", "bin/bash-java-utils.jar", f"lib/flink-dist-{version}.jar"}
    missing = sorted(name for name in wanted if not (home / name).is_file())
    if missing:
        raise InstallError(f"flink {version}: the packages lack {', '.join(missing)}; choose another version")


def _publish(unpacked: Path, home: Path) -> None:
    try:
        unpacked.rename(home)
    except OSError:
        if not home.is_dir():  # else another process was faster, and its tree is as good
            raise
