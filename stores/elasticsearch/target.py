"""Which Elasticsearch, and how documents lie in it: one URL that says everything.

In: `elasticsearch://host:9200,other:9200?option=value&...`. Out: a Target, small and picklable, for workers. Refuses to hold a
secret: keys and passwords are named by the file that has them and read by the process that connects (client.py).
"""

from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import parse_qsl

from common.errors import ConfigError
from flowpb.schema import BY_NAME
from stores.elasticsearch.selection import Drop

SCHEME: Final = "elasticsearch://"
PROFILES: Final = ("compact", "opennms")
SOURCES: Final = ("none", "aggregates", "all")
_WORDS: Final = {"true": True, "false": False}
_OPTIONS: Final = {
    "profile": f"one of {', '.join(PROFILES)}",
    "source": f"one of {', '.join(SOURCES)}",
    "fields": "columns of FLOW with commas between",
    "drop": "NETWORK~COLUMN,COLUMN with columns that a document can do without",
}


@dataclass(frozen=True, slots=True)
class Target:
    """Options of the URL, with their defaults.

    `prefix` precedes every index name. `profile` says which fields raw documents have, `fields` adds columns of FLOW to them,
    and each `drop` takes some away from exporters of a network;
    `source` says whose `_source` is kept. `raw` false writes no raw documents. With `tls` the server's certificate is checked
    against `ca_file`, or the system's authorities. `retry_s` is how long a request is tried before a bundle fails: less than a
    checkpoint may take. `refresh_s` is how soon documents are seen.
    """

    hosts: tuple[str, ...]
    prefix: str = ""
    profile: str = "compact"
    fields: tuple[str, ...] = ()
    drop: tuple[Drop, ...] = ()
    source: str = "aggregates"
    raw: bool = True
    shards: int = 1
    replicas: str = "0-1"
    refresh_s: int = 5
    tls: bool = False
    ca_file: str = ""
    user: str = ""
    password_file: str = ""
    api_key_file: str = ""
    in_flight: int = 3
    retry_s: int = 300
    timeout_s: int = 60

    @classmethod
    def parse(cls, url: str) -> Self:
        """The target of a URL; raises ConfigError with all its faults."""
        rest, _, query = url.removeprefix(SCHEME).partition("?")
        hosts = tuple(host if ":" in host else f"{host}:9200" for host in rest.rstrip("/").split(",") if host)
        target, problems = cls(hosts), [] if hosts and url.startswith(SCHEME) else [f"expected {SCHEME}host:9200?option=value"]
        kinds = {field.name: type(getattr(target, field.name)) for field in fields(cls) if field.name != "hosts"}
        for name, text in parse_qsl(query, keep_blank_values=True):
            try:
                value: Any = (*target.drop, Drop.parse(text)) if name == "drop" else _value(kinds[name], text)
                target = replace(target, **{name: value})
            except KeyError:
                problems.append(f"no option {name!r}; there are {', '.join(kinds)}")
            except ValueError:
                problems.append(f"{name}={text}: expected {_OPTIONS.get(name, f'a {kinds[name].__name__}')}")
        if problems := [*problems, *target.faults()]:
            raise ConfigError([f"{url.partition('?')[0]}: {problem}" for problem in problems])
        return target

    def faults(self) -> list[str]:
        """What is wrong with these values."""
        wrong = {
            "profile": self.profile not in PROFILES,
            "source": self.source not in SOURCES,
            "fields": not set(self.fields) <= set(BY_NAME),
        }
        found = [f"{name}: expected {_OPTIONS[name]}" for name, fault in wrong.items() if fault]
        if self.api_key_file and self.user:
            found.append("api_key_file and user exclude each other")
        if bool(self.user) != bool(self.password_file):
            found.append("user and password_file go together")
        found += [f"{name} must be above 0" for name in ("shards", "in_flight", "retry_s", "timeout_s") if getattr(self, name) < 1]
        return found

    @property
    def place(self) -> str:
        """What messages call it."""
        return f"elasticsearch {','.join(self.hosts)}"

    def keeps_source(self, raw: bool) -> bool:
        """Whether the JSON of raw documents, or of aggregates, is kept as it was sent."""
        return self.source == "all" or (self.source == "aggregates" and not raw)


def read_secret(path: str) -> str:
    """The content of a file with a secret, without the white space around it; raises ConfigError."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error


def _value(kind: type, text: str) -> Any:
    if kind is bool:
        if text not in _WORDS:
            raise ValueError(text)
        return _WORDS[text]
    if kind is int:
        return int(text)
    return tuple(filter(None, text.split(","))) if kind is tuple else text
