#!/bin/sh
# Command of Beam's PROCESS environment: the TaskManager runs it with --id=... --provision_endpoint=...
# NEPHRITE_PYTHON names an interpreter that has Nephrite installed, or finds it through PYTHONPATH.
exec "${NEPHRITE_PYTHON:-python3}" -m flink.boot "$@"
