"""What Nephrite is made of when it is installed, on a desk and on a Beam worker alike.

`proto/` is no package of its own: that import name belongs to proto-plus, which Beam brings along. Its content is `flowpb`.
"""

from setuptools import find_packages, setup

ROOMS = ("common", "bus", "ingest", "columns", "transforms", "stores", "pipelines", "query", "flink", "inventory", "bench")

RUNTIME = [
    "apache-beam==2.77.0",
    "cramjam==2.14.0",  # snappy, for remote write
    "crc32c==2.9.post0",  # without it kafka-python computes checksums in Python: 9 us a flow
    "dnspython==2.9.2",
    "dpkt==1.9.8",
    "duckdb==2.0.0",
    "kafka-python==3.0.12",
    "maxminddb==3.2.0",
    "numpy==2.4.6",
    "orjson==3.13.0",
    "polars==2.1.0",
    "prometheus-client==0.26.0",
    "protobuf==6.33.6",  # Beam wants less than 7
    "pyarrow==25.0.1",
    "pydantic==2.14.4",
    "pysnmp==7.1.30",
    "PyYAML==6.0.4",
    "requests==2.34.2",
    "rich==15.0.0",
    "starlette==1.10.0",
    "typer==0.29.2",
    "uvicorn==0.54.0",
]
DEVELOPMENT = [
    "atheris==3.0.0",
    "grpcio-tools==1.81.1",  # a newer one writes code that protobuf 6 refuses
    "hypothesis==6.170.17",
    "kubernetes-validate==1.34.1",
    "mmdb_writer==0.2.7",
    "mypy==2.4.1",
    "psutil==7.2.2",
    "pytest==9.2.0",
    "pytest-cov==7.1.0",
    "pytest-xdist==3.8.0",
    "ruff==0.17.6",
    "types-protobuf==7.35.1.20260906",
    "types-PyYAML==6.0.12.20261113",
    "types-requests==2.33.0.20261030",
]

setup(
    packages=["flowpb", *find_packages(include=[name for room in ROOMS for name in (room, f"{room}.*")])],
    py_modules=["nephrite"],
    package_dir={"flowpb": "proto/flowpb"},
    package_data={"": ["*.csv", "*.proto", "*.pyi", "*.sh", "*.yaml", "*.html"]},
    install_requires=RUNTIME,
    extras_require={"gcp": ["apache-beam[gcp]==2.77.0"], "dev": DEVELOPMENT},
)
