"""What a worker's monitoring is told over HTTP: metrics for Prometheus, and whether it is alive and ready."""
