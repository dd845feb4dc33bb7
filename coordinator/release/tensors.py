"""Safetensors files, read and written one tensor at a time: a large model needs little memory."""

import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from shared.errors import BadInput

Tensors = Mapping[str, torch.Tensor]
"""Weights by name."""

_NAMES: Mapping[torch.dtype, str] = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_PIECE = 1 << 22
_KINDS: Mapping[str, torch.dtype] = {name: dtype for dtype, name in _NAMES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """Where a tensor lies, and its shape and dtype, without its values."""

    name: str
    file: Path
    shape: tuple[int, ...]
    dtype: torch.dtype


def tensors_of(folder: Path) -> dict[str, TensorInfo]:
    """Return all tensors of a model folder by name, in order of name.

    Raises:
        BadInput: no safetensors file is there, one is damaged, or holds a dtype that we do not
            know.
    """
    found: dict[str, TensorInfo] = {}
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt") as opened:
                for name in opened.keys():  # noqa: SIM118 - not a mapping
                    part = opened.get_slice(name)
                    found[name] = TensorInfo(
                        name=name,
                        file=file,
                        shape=tuple(part.get_shape()),
                        dtype=_KINDS[part.get_dtype()],
                    )
        except (SafetensorError, KeyError) as error:
            raise BadInput(
                f"not a safetensors file that we can read ({error})", where=str(file)
            ) from None
    if not found:
        raise BadInput("the folder holds no *.safetensors", where=str(folder))
    return dict(sorted(found.items()))


def read_tensor(info: TensorInfo) -> torch.Tensor:
    """Return the values of one tensor, on the CPU."""
    with safe_open(info.file, framework="pt") as opened:
        values: torch.Tensor = opened.get_tensor(info.name)
    return values


def differences(folder: Path, other: Path) -> dict[str, torch.Tensor]:
    """Return the weights of ``other`` whose values are not those of ``folder``.

    Raises:
        BadInput: the two do not have the same weights; or see :func:`tensors_of`.
    """
    mine, theirs = tensors_of(folder), tensors_of(other)
    shapes = [{name: info.shape for name, info in part.items()} for part in (mine, theirs)]
    if shapes[0] != shapes[1]:
        raise BadInput(
            "the two models do not have the same weights",
            where=f"{folder}, {other}",
            remedy="compare a base model with releases of its own",
        )
    found: dict[str, torch.Tensor] = {}
    for name, info in mine.items():
        values = read_tensor(theirs[name])
        if not torch.equal(read_tensor(info).to(values.dtype), values):
            found[name] = values
    return found


def write_tensors(
    path: Path,
    infos: Mapping[str, tuple[tuple[int, ...], torch.dtype]],
    values: Callable[[str], torch.Tensor],
) -> None:
    """Write one safetensors file durably, asking for each tensor when its turn comes.

    Args:
        path: the new file.
        infos: shape and dtype by name.
        values: returns the tensor of a name, of just that shape and dtype.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, (shape, dtype) in infos.items():
        size = torch.Size(shape).numel() * dtype.itemsize
        header[name] = {
            "dtype": _NAMES[dtype],
            "shape": list(shape),
            "data_offsets": [at, at + size],
        }
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with path.open("xb") as stream:
        stream.write(len(text).to_bytes(8, "little"))
        stream.write(text)
        for name, (shape, dtype) in infos.items():
            tensor = values(name)
            if tuple(tensor.shape) != tuple(shape) or tensor.dtype != dtype:
                raise BadInput(f"tensor {name!r} is not what was announced", where=str(path))
            for piece in _pieces(tensor):
                stream.write(piece)
        stream.flush()
        os.fsync(stream.fileno())


def _pieces(tensor: torch.Tensor) -> Iterator[bytes]:
    flat = tensor.contiguous().reshape(-1)
    for at in range(0, flat.numel(), _PIECE):
        yield flat[at : at + _PIECE].view(torch.uint8).numpy().tobytes()
