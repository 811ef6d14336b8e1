"""What can go wrong between Nephrite and a Flink cluster.

NephriteError
└── FlinkError
    ├── InstallError      a package or a jar could not be fetched or put together
    ├── ClusterError      a JobManager or TaskManager did not start, or died
    └── RestError         Flink's REST API refused a request or could not be reached
"""

from common.errors import NephriteError


class FlinkError(NephriteError):
    """Something about the Flink cluster, its files or its answers is wrong."""


class InstallError(FlinkError):
    """A package or jar could not be fetched, or what came does not look as it should."""


class ClusterError(FlinkError):
    """A JobManager or TaskManager process did not come up in time, or ended."""


class RestError(FlinkError):
    """Flink's REST API answered with an error, or not at all.

    `status` is the HTTP status, 0 when no answer came.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status
