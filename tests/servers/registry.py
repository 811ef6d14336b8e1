"""Which real servers a test session used, and which it had to leave out, and why."""

import shutil
from dataclasses import dataclass, field

import pytest

NAMES = ("kafka", "flink", "elasticsearch", "snmpd", "exporters")


class ServerUnavailableError(RuntimeError):
    """A server cannot be had here; the message says what is missing."""


def require(*programs: str) -> None:
    """Raise ServerUnavailableError unless all `programs` are on the PATH."""
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise ServerUnavailableError(f"{' and '.join(missing)} not on the PATH")


@dataclass(slots=True)
class Registry:
    """Server name -> what ran (with versions), server name -> why it did not."""

    used: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)

    def merge(self, other: dict[str, dict[str, str]]) -> None:
        """Take over what another process of the same session says."""
        self.used |= other["used"]
        self.left_out |= other["left_out"]

    def as_dict(self) -> dict[str, dict[str, str]]:
        """For `merge` in another process."""
        return {"used": dict(self.used), "left_out": dict(self.left_out)}

    def line(self) -> str:
        """The closing line, empty when no test asked for a server."""
        missing = {name: reason for name, reason in self.left_out.items() if name not in self.used}
        if not self.used and not missing:
            return ""
        used = ", ".join(self.used[name] for name in sorted(self.used)) or "none"
        left_out = ", ".join(f"{name} ({missing[name]})" for name in sorted(missing)) or "none"
        return f"real servers: {used}; left out: {left_out}"


REGISTRY: pytest.StashKey[Registry] = pytest.StashKey()
