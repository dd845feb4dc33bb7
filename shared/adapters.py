"""What an adapter is: its tensors, their shapes, and what leaves a store after training."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from shared.errors import NotFinite, WrongDigest, WrongShape
from shared.hashing import digest_arrays, digest_json

AdapterKind = Literal["rxr", "ffa", "lora"]
Arrays = Mapping[str, NDArray[np.float32]]
LORA_A, LORA_B = ".lora_A", ".lora_B"
"""Endings of the two trained tensors of a weight under ``lora``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSpec:
    """Which numbers are trained; store and HQ derive the same spec from the same base and settings.

    ``shapes`` maps each trained tensor's name to its shape. A weight
    ``model.layers.12.self_attn.q_proj`` has one of its own name, ``(r, r)`` for ``rxr`` and
    ``(d_out, r)`` for ``ffa``; for ``lora`` it has two, its name with ``.lora_A``, ``(r, d_in)``,
    and with ``.lora_B``, ``(d_out, r)``. All tensors are float32, contiguous. ``base_digest`` is
    :func:`shared.hashing.digest_folder` of the base model.
    """

    kind: AdapterKind
    rank: int
    scale: float
    upper_layers: int
    targets: tuple[str, ...]
    factor_seed: int
    base_digest: str
    shapes: Mapping[str, tuple[int, ...]]

    @property
    def sites(self) -> tuple[str, ...]:
        """Names of the weights that carry the adapter, each once, in the order of ``shapes``."""
        names = (name.removesuffix(LORA_A).removesuffix(LORA_B) for name in self.shapes)
        return tuple(dict.fromkeys(names))

    @property
    def parameters(self) -> int:
        """Number of trained values."""
        return sum(int(np.prod(shape)) for shape in self.shapes.values())

    @property
    def payload_bytes(self) -> int:
        """Bytes of the tensors in one message (float32), without framing."""
        return 4 * self.parameters

    @property
    def digest(self) -> str:
        """SHA-256 of the spec's canonical JSON."""
        return digest_json(self.as_dict())

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "kind": self.kind,
            "rank": self.rank,
            "scale": self.scale,
            "upper_layers": self.upper_layers,
            "targets": list(self.targets),
            "factor_seed": self.factor_seed,
            "base_digest": self.base_digest,
            "shapes": {name: list(shape) for name, shape in sorted(self.shapes.items())},
        }

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Return the spec of :meth:`as_dict`.

        Raises:
            WrongShape: a field is missing, unknown or of another type.
        """
        try:
            return cls(
                **{
                    **value,
                    "targets": tuple(value["targets"]),
                    "shapes": {
                        name: tuple(int(size) for size in shape)
                        for name, shape in value["shapes"].items()
                    },
                }
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise WrongShape("not an adapter spec", where="plan") from None

    def check(self, arrays: Arrays, *, sender: str) -> None:
        """Raise unless ``arrays`` are exactly the tensors of this spec, float32 and finite.

        Raises:
            WrongShape: a tensor is missing, unknown, or of another shape or dtype.
            NotFinite: a tensor holds NaN or infinity.
        """
        if set(arrays) != set(self.shapes):
            odd = sorted(set(arrays) ^ set(self.shapes))[0]
            raise WrongShape(
                f"tensor {odd!r} is missing or not in the plan", where=sender, tensor=odd
            )
        for name, shape in self.shapes.items():
            array = arrays[name]
            if tuple(array.shape) != tuple(shape) or array.dtype != np.float32:
                raise WrongShape(
                    f"tensor {name!r} is {array.dtype.name}{tuple(array.shape)}, "
                    f"planned float32{tuple(shape)}",
                    where=sender,
                    tensor=name,
                )
            if not np.isfinite(array).all():
                raise NotFinite(f"tensor {name!r} holds NaN or infinity", where=sender, tensor=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterUpdate:
    """What leaves a store after a round: the change of the adapter, already noised, and its digest.

    ``arrays`` is the store's adapter after training minus the adapter it was given, per tensor of
    the spec.
    """

    store_id: str
    round_id: str
    spec_digest: str
    arrays: Arrays
    digest: str = field(default="")

    @classmethod
    def seal(
        cls, *, store_id: str, round_id: str, spec: AdapterSpec, arrays: Arrays
    ) -> "AdapterUpdate":
        """Make an update with the digest of its arrays."""
        return cls(
            store_id=store_id,
            round_id=round_id,
            spec_digest=spec.digest,
            arrays=arrays,
            digest=digest_arrays(arrays),
        )

    def check(self, spec: AdapterSpec) -> None:
        """Raise unless the update fits ``spec`` and its digest holds.

        Raises:
            WrongDigest: the bytes are not those that were sealed, or another spec was meant.
            WrongShape, NotFinite: see :meth:`AdapterSpec.check`.
        """
        if self.spec_digest != spec.digest:
            raise WrongDigest("the update was made for another adapter spec", where=self.store_id)
        spec.check(self.arrays, sender=self.store_id)
        if digest_arrays(self.arrays) != self.digest:
            raise WrongDigest("the update's digest does not match its arrays", where=self.store_id)
