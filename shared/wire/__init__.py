"""Protocol buffers and their codec: the only place that knows protobuf."""
