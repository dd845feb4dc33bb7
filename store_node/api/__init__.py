"""REST, WebSocket and gRPC surfaces of a store: translate, nothing else."""
