"""Kubernetes manifests for a given model; nothing here talks to a cluster."""
