"""The one TOML file, read once into frozen settings.

Order, strongest first: command line (``overrides``), environment (``STOREWEAVE_SECTION__KEY``),
secret files (``$STOREWEAVE_HOME/secrets/section__key``), TOML, defaults. Unknown keys are refused.
``[privacy]`` decides what is promised and its digest is in every ledger entry; ``[performance]``
must never change it.
"""

import os
import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from shared.errors import BadConfig
from shared.hashing import digest_json

SETTING_IN_ENVIRONMENT = re.compile(r"STOREWEAVE_[A-Z]+__[A-Z0-9_]+$")
"""Names of environment variables that are settings; folders and test switches are none."""

Port = Annotated[int, Field(ge=0, le=65535)]
"""A TCP port; 0 means: take a free one."""


class Section(BaseModel):
    """A table of the TOML file: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class StoreSettings(Section):
    """``[store]``: who this store is and where it listens."""

    id: str = ""
    name: str = ""
    lang: str = "en"
    host: str = "127.0.0.1"
    port: Port = 8080
    database: str = ""
    """SQLAlchemy URL; empty: SQLite in the home folder."""
    api_key: SecretStr | None = None
    """Bearer key that callers of the store API must send; none: loopback only."""
    inference: str = ""
    """``host:port`` of the inference service (gRPC); empty: it runs in the store's process."""


class HqSettings(Section):
    """``[hq]``: headquarters' operator API and the Flower SuperLink."""

    host: str = "127.0.0.1"
    port: Port = 8090
    api_key: SecretStr | None = None
    superlink: str = ""
    """``host:port`` of the SuperLink."""
    inference: list[str] = []
    """``host:port`` of each inference service that releases are pushed to."""


class ModelSettings(Section):
    """``[model]``: the shared base model and where adapters sit."""

    base: str = ""
    """Local folder or hub id; empty: the packaged multilingual Gemma 3 270M."""
    adapter: Literal["rxr", "ffa", "lora"] = "ffa"
    rank: Annotated[int, Field(ge=1, le=256)] = 2
    targets: tuple[str, ...] = ("v_proj", "o_proj")
    upper_layers: Annotated[int, Field(ge=1)] = 3
    """Adapters sit in this many layers at the top.

    The trunk below is frozen and its states are kept.
    """
    scale: Annotated[float, Field(gt=0)] = 1.0
    factor_seed: int = 2026


class PrivacySettings(Section):
    """``[privacy]``: what is promised. Every field enters the digest that ledger entries carry."""

    unit: Literal["customer"] = "customer"
    adjacency: Literal["add-or-remove-one"] = "add-or-remove-one"
    quarter_epsilon: Annotated[float, Field(gt=0)] = 2.0
    year_epsilon: Annotated[float, Field(gt=0)] = 8.0
    max_delta: Annotated[float, Field(gt=0, lt=1)] = 1e-6
    """delta = min(max_delta, 1 / (10 x public customer count))."""
    min_sigma: Annotated[float, Field(ge=0)] = 0.7
    min_customers: Annotated[int, Field(ge=1)] = 300
    stores_per_customer: Annotated[int, Field(ge=1)] = 1
    """Public bound on the number of stores that one customer's conversations are in.

    Epsilon is composed over it.
    """
    noise: Literal["store"] = "store"
    """Who adds the noise: each store for itself."""
    clip: Annotated[float, Field(gt=0)] = 0.3
    """L2 bound C on one customer's gradient."""
    texts_per_customer: Annotated[int, Field(ge=1)] = 1
    """k: at most this many texts of a customer enter a step."""


class RoundSettings(Section):
    """``[rounds]``: how a federation run is planned. Tuned on public and synthetic data only."""

    rounds: Annotated[int, Field(ge=1)] = 2
    steps: Annotated[int, Field(ge=1)] = 1
    """DP-SGD steps at each store in each round."""
    sample_rate: Annotated[float, Field(gt=0, le=1)] = 1.0
    """q: the public rate at which customers are sampled; 1 means the whole batch in every step."""
    epsilon: Annotated[float, Field(gt=0)] = 1.35
    """What the run may cost each customer at most; two such runs fit in a quarter of epsilon 2."""
    learning_rate: Annotated[float, Field(gt=0)] = 40.0
    server_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    quorum: Annotated[int, Field(ge=1)] = 1
    deadline_s: Annotated[float, Field(gt=0)] = 900.0


class ServingSettings(Section):
    """``[serving]``: the inference service, and how a release is rolled out."""

    host: str = "127.0.0.1"
    port: Port = 8070
    max_new_tokens: Annotated[int, Field(ge=1, le=4096)] = 64
    max_waiting: Annotated[int, Field(ge=1)] = 256
    """Requests that may wait; one more is answered RESOURCE_EXHAUSTED."""
    step_weights: tuple[int, ...] = (10, 100)
    """Percent of traffic the canary gets, stage by stage."""
    interval_s: Annotated[float, Field(ge=0)] = 5.0
    """How long each stage is watched."""
    success_rate_min: Annotated[float, Field(ge=0, le=1)] = 0.99
    p99_max_s: Annotated[float, Field(gt=0)] = 0.5


class PerformanceSettings(Section):
    """``[performance]``: speed and memory only; must never change what is promised."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    """CPU threads for torch; 0: leave torch's own choice."""
    micro_batch_tokens: Annotated[int, Field(ge=64)] = 4096
    keep_states: Literal["memory", "disk"] = "disk"
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "WARNING"


class Settings(BaseSettings):
    """All of the configuration. Build it with :func:`load_settings`."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="STOREWEAVE_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    store: StoreSettings = StoreSettings()
    hq: HqSettings = HqSettings()
    model: ModelSettings = ModelSettings()
    privacy: PrivacySettings = PrivacySettings()
    rounds: RoundSettings = RoundSettings()
    serving: ServingSettings = ServingSettings()
    performance: PerformanceSettings = PerformanceSettings()

    toml_path: ClassVar[Path | None] = None
    secrets_path: ClassVar[Path | None] = None

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the sources in the documented order."""
        sources: list[PydanticBaseSettingsSource] = [init_settings, env_settings]
        if cls.secrets_path is not None and cls.secrets_path.is_dir():
            sources.append(_SecretFiles(settings_cls, cls.secrets_path))
        if cls.toml_path is not None:
            sources.append(TomlConfigSettingsSource(settings_cls, toml_file=cls.toml_path))
        return tuple(sources)


class _SecretFiles(PydanticBaseSettingsSource):
    """Reads ``section__key`` files; pydantic's own source knows no sections."""

    def __init__(self, settings_cls: type[BaseSettings], folder: Path) -> None:
        super().__init__(settings_cls)
        self._folder = folder

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """Return the section of that name."""
        return self().get(field_name), field_name, True

    def __call__(self) -> dict[str, Any]:
        """Return what the files say; hidden files, as secret mounts make them, are passed over."""
        found: dict[str, Any] = {}
        for path in sorted(self._folder.iterdir()):
            section, _, key = path.name.partition("__")
            if path.is_file() and not path.name.startswith("."):
                value = path.read_text("utf-8").strip()
                if key:
                    found.setdefault(section, {})[key] = value
                else:
                    found[section] = value
        return found


def home_folder() -> Path:
    """Return ``$STOREWEAVE_HOME``, or the user's data folder; it need not exist yet."""
    named = os.environ.get("STOREWEAVE_HOME")
    return (
        Path(named).expanduser().resolve()
        if named
        else Path(platformdirs.user_data_dir("storeweave"))
    )


def cache_folder() -> Path:
    """Return the folder for what can be made again (converted base models).

    ``$STOREWEAVE_CACHE`` names another.
    """
    named = os.environ.get("STOREWEAVE_CACHE")
    return (
        Path(named).expanduser().resolve()
        if named
        else Path(platformdirs.user_cache_dir("storeweave"))
    )


def load_settings(
    path: Path | None = None, *, home: Path | None = None, **overrides: dict[str, Any]
) -> Settings:
    """Read the configuration once.

    Args:
        path: the TOML file; ``None``: ``storeweave.toml`` in the home folder where there is one.
        home: the home folder; ``None``: :func:`home_folder`.
        overrides: sections given on the command line, for example ``rounds={"steps": 4}``.

    Raises:
        BadConfig: the file is missing or not TOML, a key is unknown, or a value is out of range.
    """
    folder = home or home_folder()
    if path is not None and not path.is_file():
        raise BadConfig(
            "the configuration file does not exist", where=str(path), remedy="check --config"
        )
    toml = path or folder / "storeweave.toml"
    bound = type(
        "BoundSettings",
        (Settings,),
        {
            "toml_path": toml if toml.is_file() else None,
            "secrets_path": folder / "secrets",
            "__module__": __name__,
        },
    )
    try:
        settings = bound(**overrides)
    except tomllib.TOMLDecodeError as error:
        raise BadConfig(
            f"not valid TOML: {error}", where=str(toml), remedy="mend the named line"
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise BadConfig(
            f"{key}: {first['msg'][:1].lower()}{first['msg'][1:]}",
            where=str(toml) if toml.is_file() else "configuration",
            remedy="see the table of settings in README.md",
        ) from None
    assert isinstance(settings, Settings)  # noqa: S101 - narrows the dynamic subclass for the type checker
    return settings


def privacy_digest(settings: PrivacySettings) -> str:
    """Return the digest of ``[privacy]`` that every ledger entry carries."""
    return digest_json(settings.model_dump(mode="json"))
