"""The runner jar: Beam's translation of a portable pipeline into a Flink job, as one jar to submit.

In: a cache folder. Out: a jar, with a JSON file beside it that says what it is. Two ways lead there:

- the matched pair, Beam 2.77 for Flink 1.20, where Maven resolves the ready-made job server; this is what to run;
- else the jar is put together from the library jars of the newest runner that is published everywhere as libraries,
  Beam 2.56 for Flink 1.16. The Fn API between runner and Python worker is stable enough that Python 2.77 works with
  it, although Beam promises nothing across versions; tests/flink proves what Nephrite needs of it.

That the matched pair did not resolve is remembered for a day.
"""

import json
import shutil
import subprocess
import tempfile
import time
import zipfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from flink.errors import InstallError

MAVEN_TIMEOUT_S = 900
NEGATIVE_TTL_S = 86_400
COPY_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy"
COPY_DEPENDENCIES_GOAL = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"

# the cluster brings these itself; a second copy in the job's class loader would clash with it
_PROVIDED = ("flink-", "slf4j-", "log4j-")
# Runner 2.56 keeps each residual of a splittable DoFn as a new Flink state under a name that counts up, for ever
# (apache/beam issue 27648, fixed in 2.76): measured 3.8 kB of checkpoint per self-checkpoint, 0.6 GB a day for two
# subtasks at one a second. A key has one residual at most, so one name will do: the id is taken from the generator's
# toString(), which is constant while the operator lives, in place of getId(). Only the constant pool's name changes.
_RESIDUALS = "org/apache/beam/runners/fnexecution/control/BundleCheckpointHandlers$StateAndTimerBundleCheckpointHandler"
_EDITS = {f"{_RESIDUALS}.class": (b"\x01\x00\x05getId", b"\x01\x00\x08toString")}

_NOT_FOUND = "Could not find artifact"
_SIGNATURES = (".SF", ".RSA", ".DSA", ".EC")


@dataclass(frozen=True, slots=True)
class RunnerPair:
    """A Beam runner and the Flink release to run it on."""

    beam: str
    flink: str
    artifact: str  # Maven coordinates group:artifact:version
    assembled: bool  # put together from libraries, or published as one jar

    @property
    def name(self) -> str:
        """What tells this pair's files from others in the cache; without dots, so that a suffix can be told."""
        return f"beam-runner-{self.beam}-flink-{self.flink}".replace(".", "_")

    def __str__(self) -> str:
        return f"flink {self.flink} (beam runner {self.beam})"


MATCHED = RunnerPair("2.77.0", "1.20.5", "org.apache.beam:beam-runners-flink-1.20-job-server:2.77.0", assembled=False)
ASSEMBLED = RunnerPair("2.56.0", "1.16.3", "org.apache.beam:beam-runners-flink-1.16:2.56.0", assembled=True)

_POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>nephrite</groupId><artifactId>flink-runner</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>
  </dependencies>
</project>
"""


@dataclass(frozen=True, slots=True)
class RunnerJar:
    """A runner jar on disk and the pair it belongs to."""

    path: Path
    pair: RunnerPair


class _UnresolvableError(InstallError):
    """Maven answered, and the artifact is in none of its repositories."""


def runner_jar(cache: Path, *, retry: bool = False) -> RunnerJar:
    """Return the runner jar below `cache`, fetched or assembled first if need be.

    `retry` asks for the matched pair again although it did not resolve within the last day.
    Raises InstallError when neither pair can be had.
    """
    cache.mkdir(parents=True, exist_ok=True)
    if retry:
        _negative(cache).unlink(missing_ok=True)
    if not _known_missing(cache):
        try:
            return _ensure(MATCHED, cache)
        except _UnresolvableError as err:
            _negative(cache).write_text(json.dumps({"artifact": MATCHED.artifact, "reason": str(err)}) + "\n")
        except InstallError:
            if not _complete(ASSEMBLED, cache):  # no network: what is there will do, but nothing is chosen for good
                raise
    return _ensure(ASSEMBLED, cache)


def described(jar: Path) -> RunnerJar:
    """Read back what a jar made by `runner_jar` is.

    Raises InstallError when the description beside the jar is missing or not ours.
    """
    try:
        return RunnerJar(jar, RunnerPair(**json.loads(jar.with_suffix(".json").read_text())))
    except (OSError, ValueError, TypeError) as err:
        raise InstallError(f"{jar}: no usable description beside it; make the jar with `python -m flink jar`") from err


def merge_jars(jars: Iterable[Path], into: Path) -> None:
    """Write one jar with the members of all `jars`.

    Service files (META-INF/services) are concatenated, since each lists only its own jar's implementations; of any
    other member with the same name the first wins; signatures are dropped, as they would no longer hold. One class of
    runner 2.56 is edited (see `_EDITS`).
    """
    services: dict[str, list[bytes]] = {}
    seen: set[str] = set()
    with zipfile.ZipFile(into, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as merged:
        for jar in jars:
            with zipfile.ZipFile(jar) as source:
                for name in source.namelist():
                    if name.endswith("/") or _is_signature(name):
                        continue
                    if name.startswith("META-INF/services/"):
                        services.setdefault(name, []).append(source.read(name))
                    elif name not in seen:
                        seen.add(name)
                        merged.writestr(name, _edited(name, source.read(name)))
        for name, parts in sorted(services.items()):
            merged.writestr(name, b"\n".join(part.strip() for part in parts) + b"\n")


def _edited(name: str, content: bytes) -> bytes:
    if name not in _EDITS:
        return content
    old, new = _EDITS[name]
    if content.count(old) != 1:
        raise InstallError(f"{name}: not as the edit of it expects; the runner's libraries have changed")
    return content.replace(old, new)


def _is_signature(name: str) -> bool:
    return name == "META-INF/INDEX.LIST" or (name.startswith("META-INF/") and name.endswith(_SIGNATURES))


def _negative(cache: Path) -> Path:
    return cache / "beam-runner-not-resolved.json"


def _known_missing(cache: Path) -> bool:
    try:
        return time.time() - _negative(cache).stat().st_mtime < NEGATIVE_TTL_S
    except FileNotFoundError:
        return False


def _complete(pair: RunnerPair, cache: Path) -> bool:
    return (cache / f"{pair.name}.json").is_file()


def _ensure(pair: RunnerPair, cache: Path) -> RunnerJar:
    jar = cache / f"{pair.name}.jar"
    if not _complete(pair, cache):
        with tempfile.TemporaryDirectory(dir=cache, prefix=".runner-") as scratch:
            made = _assemble(pair, Path(scratch)) if pair.assembled else _fetch(pair, Path(scratch))
            made.replace(jar)
        jar.with_suffix(".json").write_text(json.dumps(asdict(pair), indent=2) + "\n")  # last: marks the jar complete
    return RunnerJar(jar, pair)


def _fetch(pair: RunnerPair, scratch: Path) -> Path:
    _maven(COPY_GOAL, "-Dtransitive=false", f"-Dartifact={pair.artifact}", f"-DoutputDirectory={scratch}")
    _, artifact, version = pair.artifact.split(":")
    return scratch / f"{artifact}-{version}.jar"


def _assemble(pair: RunnerPair, scratch: Path) -> Path:
    pom, libraries, merged = scratch / "pom.xml", scratch / "lib", scratch / "merged.jar"
    pom.write_text(_POM.format(*pair.artifact.split(":")))
    _maven("-f", str(pom), COPY_DEPENDENCIES_GOAL, "-DincludeScope=runtime", f"-DoutputDirectory={libraries}")
    merge_jars((jar for jar in sorted(libraries.glob("*.jar")) if not jar.name.startswith(_PROVIDED)), merged)
    return merged


def _maven(*arguments: str) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise InstallError("mvn is not on the PATH; install Maven, or name a ready-made runner jar")
    # -U: Maven's own memory of what it did not find lasts as long as ours, but cannot be overruled by --retry
    command = [maven, "-B", "-ntp", "-q", "-U", "-Dstyle.color=never", *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=MAVEN_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired as err:
        raise InstallError(f"mvn: no answer within {MAVEN_TIMEOUT_S} s; try again") from err
    if done.returncode:
        output = done.stdout + done.stderr
        reason = next((line for line in output.splitlines() if "[ERROR]" in line), "[ERROR] no reason given")
        failure = _UnresolvableError if _NOT_FOUND in output else InstallError
        raise failure(f"mvn: {reason.partition('[ERROR] ')[2]}")
