"""Every error that Nephrite raises on purpose, by whose fault it is.

    NephriteError
    ├── UsageError            the command line                       exit code 2
    ├── ConfigError           configuration, rules: the operator     exit code 2
    ├── InputError            a file or packet that is not usable    exit code 1
    ├── BusError              Kafka or the spool
    │   ├── OffsetGoneError   entries expired before they were read
    │   ├── BusReplacedError  another log under the same name
    │   └── BatchTooLargeError    a batch that the bus will never take
    └── StoreError            Elasticsearch, Parquet, the manifest
        └── OutletError       a receiver of time series is away

Each message is one line that names the place and, where there is one, the remedy.
"""

from collections.abc import Sequence


class NephriteError(Exception):
    """Root of all; `exit_code` is what a command ends with."""

    exit_code = 1


class UsageError(NephriteError):
    """The command was called in a way that cannot work."""

    exit_code = 2


class ConfigError(NephriteError):
    """Configuration that cannot be used; `problems` holds every fault, one line each."""

    exit_code = 2

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(problems))


class InputError(NephriteError):
    """A file or stream that cannot be read as what it is said to be."""


class BusError(NephriteError):
    """The bus does not take or give batches."""


class OffsetGoneError(BusError):
    """The wanted offset is older than everything that the bus still has."""


class BusReplacedError(BusError):
    """The bus is not the one that was read before: made anew under the same name, so that offsets of before mean nothing."""


class BatchTooLargeError(BusError):
    """The batch is larger than anything that the bus takes: trying again is of no use."""


class StoreError(NephriteError):
    """The store does not take or give documents."""


class OutletError(StoreError):
    """A receiver of time series does not take points now; the same points may be sent again."""
