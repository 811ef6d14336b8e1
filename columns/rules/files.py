"""Rule books in files: the one place of the rules that reads and writes the disk.

In: a CSV file (one user-defined group), or a YAML file that names groups and their CSV files. Out: the rule book with the
pre-defined group at its end, or every fault of all its files at once. Refuses to know what becomes of the book.

    exported: last            # take the exporter's own application name: never, first or last (before or after the rules)
    predefined: true          # IANA's services after all groups
    groups:
      - {name: sites, file: sites.csv, position: 1}
      - {name: trial, file: trial.csv, position: 2, enabled: false}
"""

import hashlib
import os
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from columns.rules.model import USER_GROUP, Exported, Group, RuleBook
from columns.rules.predefined import predefined_group
from columns.rules.text import read_rules
from common.errors import ConfigError

_VERSION_DIGITS: Final = 12


class _GroupEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    file: str = Field(min_length=1)
    position: int = 0
    enabled: bool = True
    id: int = Field(0, ge=0)
    description: str = ""


class _BookFile(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    groups: tuple[_GroupEntry, ...] = ()
    predefined: bool = True
    exported: Exported = "never"


def read_book(path: Path) -> RuleBook:
    """The rule book of a file; raises ConfigError with every fault of it and of the files that it names."""
    if path.suffix.lower() in (".yaml", ".yml"):
        text = read_text(path)
        layout = _book_file(path, text)
    else:
        text, layout = "", _BookFile(groups=(_GroupEntry(name=USER_GROUP, file=path.name),))
    groups, texts, problems = [], [text], list(_repeated(path, layout))
    for entry in layout.groups:
        try:
            texts.append(read_text(path.parent / entry.file))
            rules = read_rules(texts[-1], str(path.parent / entry.file))
            groups.append(Group(entry.name, entry.position, rules, entry.enabled, False, entry.id, entry.description))
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return RuleBook((*groups, predefined_group(layout.predefined)), _version(texts), layout.exported)


def files_of(path: Path) -> tuple[Path, ...]:
    """The files that make up the book, itself first; only itself if it cannot be read."""
    if path.suffix.lower() not in (".yaml", ".yml"):
        return (path,)
    try:
        layout = _book_file(path, read_text(path))
    except ConfigError:
        return (path,)
    return (path, *(path.parent / entry.file for entry in layout.groups))


def read_text(path: Path) -> str:
    """The text of a file; raises ConfigError if there is none."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error


def write_whole(path: Path, text: str) -> None:
    """At any moment the file is either the old or the new one, whole: a running service may read it. Raises ConfigError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError([f"{path}: cannot be written: {error}"]) from error


def _book_file(path: Path, text: str) -> _BookFile:
    try:
        tree: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not YAML: {' '.join(str(error).split())}"]) from error
    try:
        return _BookFile.model_validate({} if tree is None else tree)
    except ValidationError as error:
        problems = [(".".join(map(str, fault["loc"])) or "top level", fault["msg"]) for fault in error.errors()]
        raise ConfigError([f"{path}: {place}: {message}" for place, message in problems]) from error


def _repeated(path: Path, layout: _BookFile) -> list[str]:
    names = [entry.name for entry in layout.groups]
    return [f"{path}: groups: '{name}' is there twice" for name in sorted(set(names)) if names.count(name) > 1]


def _version(texts: list[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(hashlib.sha256(text.encode()).digest())
    return digest.hexdigest()[:_VERSION_DIGITS]
