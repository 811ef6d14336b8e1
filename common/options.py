"""The options that every command has: where the configuration and the data are."""

from pathlib import Path
from typing import Annotated

import typer

from common.config import Listener, Settings, load_settings
from common.errors import UsageError

ConfigFile = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="YAML file with settings (see `nephrite config docs`).")
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", "-d", metavar="DIR", help="Folder of spool, manifest and Parquet files.")
]


def settings_of(config: Path | None, data_dir: Path | None) -> Settings:
    """Settings of the file, the environment, and the option on top; raises ConfigError."""
    settings = load_settings(config)
    return settings if data_dir is None else settings.model_copy(update={"data_dir": str(data_dir)})


def store_of(settings: Settings, data_dir: Path | None) -> str:
    """The URL of the store that a command is about; empty for a data folder, also that of the command line."""
    return "" if data_dir else settings.store.url


def listener_of(text: str) -> Listener:
    """HOST:PORT, [IPv6]:PORT or PORT; raises UsageError."""
    host, _, port = text.rpartition(":")
    closed = host.startswith("[") == host.endswith("]")
    if not port.isdigit() or int(port) > 65_535 or not closed:
        raise UsageError(f"--listen {text}: expected HOST:PORT, [IPv6]:PORT or PORT")
    return Listener(host=host.strip("[]") or "0.0.0.0", port=int(port))
