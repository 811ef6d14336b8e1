"""Which sources the inventory has: a YAML file with a sentence per field.

In: a file. Out: `InventorySettings`, or a ConfigError with every fault. Paths in it are relative to it. Secrets come from variables
of the environment, which the file names.

    snapshot: inventory.arrow
    sources:                        # the most trusted first
      - {type: file, path: nodes.yaml}
      - {type: opennms, url: "http://127.0.0.1:8980/opennms", user: flows, password_env: OPENNMS_PASSWORD}
      - {type: snmp, targets: [10.0.0.1], communities_env: [SNMP_COMMUNITY]}
    labels: labels.csv
    as_database: GeoLite2-ASN.mmdb
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from common.errors import ConfigError


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Source(_Model):
    name: str = Field("", description="Name in messages and metrics; empty takes the type and what it reads.")


class FileSource(_Source):
    """Nodes of a YAML or CSV file."""

    type: Literal["file"]
    path: str = Field(description="YAML or CSV file of nodes.")


class _HttpSource(_Source):
    url: str = Field(description="Address of the service.")
    user: str = Field("", description="User for basic authentication.")
    password_env: str = Field("", description="Variable of the environment with that user's password.")
    token_env: str = Field("", description="Variable of the environment with a token.")
    token_scheme: str = Field("Token", description="Word before the token in the Authorization header.")
    timeout_s: float = Field(10.0, gt=0, description="The service answers within this time.")
    verify: bool | str = Field(True, description="Check the server's certificate; or a file of trusted ones.")


class OpenNmsSource(_HttpSource):
    """Nodes of an OpenNMS, over REST."""

    type: Literal["opennms"]
    threads: int = Field(4, ge=1, le=64, description="Requests at a time.")


class JsonSource(_HttpSource):
    """Nodes of any service that answers JSON."""

    type: Literal["json"]
    records: str = Field("", description="Path of the list in an answer; empty if the answer is the list.")
    next: str = Field("", description="Path of the next page's URL.")
    fields: dict[str, str | tuple[str, ...]] = Field(description="Field of a node: path of its value in a record.")
    interface_fields: dict[str, str] = Field({}, description="Field of an interface: path of its value.")
    constants: dict[str, str] = Field({}, description="Field of a node: a value that all have.")


class OptionsSource(_Source):
    """Names of interfaces and VRFs that exporters sent as options data."""

    type: Literal["options"]
    path: str = Field("", description="NDJSON file with one record per line: exporter, location, index, name, alias.")
    url: str = Field("", description="Page of a collector with the names that it has; instead of a file.")
    location: str | None = Field(None, description="Location of that collector's exporters.")
    timeout_s: float = Field(10.0, gt=0, description="The collector answers within this time.")

    @model_validator(mode="after")
    def _one_place(self) -> "OptionsSource":
        if bool(self.path) == bool(self.url):
            raise ValueError("needs either a path or a url")
        return self


class SnmpUser(_Model):
    """A user of SNMPv3 (RFC 3414)."""

    user: str = Field(description="Security name.")
    auth: Literal["none", "md5", "sha", "sha224", "sha256", "sha384", "sha512"] = Field("none", description="Authentication.")
    auth_key_env: str = Field("", description="Variable of the environment with the authentication password.")
    privacy: Literal["none", "des", "aes", "aes192", "aes256"] = Field("none", description="Encryption.")
    privacy_key_env: str = Field("", description="Variable of the environment with the encryption password.")


class SnmpSource(_Source):
    """MIB-2 of devices: names, interfaces, addresses, vendor."""

    type: Literal["snmp"]
    targets: tuple[str, ...] = Field((), description="ADDRESS or ADDRESS:PORT of each device.")
    nodes: bool = Field(False, description="Also ask the nodes of the sources before this one, each at its first address.")
    communities_env: tuple[str, ...] = Field((), description="Variables of the environment with communities, tried in turn.")
    users: tuple[SnmpUser, ...] = Field((), description="Users of version 3, tried before communities.")
    location: str | None = Field(None, description="Location of these devices.")
    timeout_s: float = Field(2.0, gt=0, description="A device answers a request within this time.")
    retries: int = Field(1, ge=0, le=10, description="A request is repeated this often.")
    concurrency: int = Field(16, ge=1, le=1024, description="Devices asked at a time.")
    backoff_s: float = Field(60.0, gt=0, description="A device that fails rests this long, twice as long each time again.")
    backoff_most_s: float = Field(3600.0, gt=0, description="It never rests longer.")


Source = Annotated[FileSource | OpenNmsSource | JsonSource | OptionsSource | SnmpSource, Field(discriminator="type")]


class InventorySettings(_Model):
    """Sources of the inventory, and where its snapshot goes."""

    snapshot: str = Field("inventory.arrow", description="File that workers map.")
    state: str = Field("inventory-state", description="Folder with the last good answer of each source.")
    sources: tuple[Source, ...] = Field((), description="Sources of nodes, the most trusted first.")
    external_interfaces: tuple[str, ...] = Field(
        (), description="Patterns, * and ?, of names and aliases of interfaces to other networks, where no source says the side."
    )
    internal_interfaces: tuple[str, ...] = Field((), description="The same of interfaces to the own network.")
    labels: str = Field("", description="CSV file of networks and labels.")
    as_database: str = Field("", description="Database of autonomous systems in MaxMind's format.")
    country_database: str = Field("", description="Database of countries in MaxMind's format.")
    refresh_s: float = Field(600.0, gt=0, description="Sources are asked this often.")


def read_settings(path: Path) -> InventorySettings:
    """The settings of a file; raises ConfigError with every fault."""
    try:
        tree: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ConfigError([f"{path}: not YAML: {' '.join(str(error).split())}"]) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from error
    try:
        return InventorySettings.model_validate({} if tree is None else tree)
    except ValidationError as error:
        faults = [(".".join(map(str, fault["loc"])) or "top level", fault["msg"]) for fault in error.errors()]
        raise ConfigError([f"{path}: {place}: {message}" for place, message in faults]) from error


def secret(variable: str, environment: Mapping[str, str] = os.environ) -> str:
    """The value of a variable of the environment, empty for no variable; raises ConfigError if it is not set."""
    if not variable:
        return ""
    if variable not in environment:
        raise ConfigError([f"environment: {variable} is not set, and the inventory's settings name it"])
    return environment[variable]
