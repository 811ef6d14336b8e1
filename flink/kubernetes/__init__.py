"""Manifests for Kubernetes, to be read and applied: `kubectl apply -f flink/kubernetes/` (docs/how-to/kubernetes.md)."""
