"""Running Nephrite on Flink: a cluster from packages, the runner jar, the worker's boot, submission, savepoints.

In: pipelines built elsewhere. Out: jobs on a Flink cluster. Refuses to know what a pipeline computes, and never
imports pyflink: Flink's own Python API is not used, only its Java distribution.
"""
