#!/bin/sh
# Makes the *_pb2 files again from the .proto files beside this script; run after changing one.
set -eu
cd "$(dirname "$0")/../.."
"${PYTHON:-python3}" -m grpc_tools.protoc -I . --python_out=. --mypy_out=. --grpc_python_out=. --mypy_grpc_out=. \
  shared/wire/federation.proto shared/wire/inference.proto
rm -f shared/wire/federation_pb2_grpc.py*
