"""One file, four sources in order, nothing unknown, and secrets stay secret."""

from pathlib import Path

import pytest

from shared.config import (
    PerformanceSettings,
    PrivacySettings,
    cache_folder,
    home_folder,
    load_settings,
    privacy_digest,
)
from shared.errors import BadConfig


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("STOREWEAVE_HOME", str(tmp_path))
    return tmp_path


def test_defaults_need_no_file(home: Path) -> None:
    settings = load_settings()
    assert home_folder() == home
    assert settings.privacy.quarter_epsilon == 2.0
    assert settings.privacy.year_epsilon == 8.0


def test_the_stronger_source_wins(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "storeweave.toml").write_text(
        '[rounds]\nsteps = 2\nrounds = 3\n[store]\nid = "leeds"\n'
    )
    assert load_settings().rounds.steps == 2
    (home / "secrets").mkdir()
    monkeypatch.setenv("STOREWEAVE_ROUNDS__STEPS", "5")
    assert load_settings().rounds.steps == 5
    settings = load_settings(rounds={"steps": 7})
    assert (settings.rounds.steps, settings.rounds.rounds) == (7, 3)
    assert settings.store.id == "leeds"


def test_secrets_come_from_files_and_are_never_shown(home: Path) -> None:
    (home / "secrets").mkdir()
    (home / "secrets" / "hq__api_key").write_text("s3cret")
    (home / "storeweave.toml").write_text('[hq]\napi_key = "weaker"\nport = 8123\n')
    settings = load_settings()
    assert settings.hq.api_key is not None
    assert settings.hq.api_key.get_secret_value() == "s3cret"
    assert settings.hq.port == 8123
    assert "s3cret" not in repr(settings)
    assert "s3cret" not in settings.model_dump_json()


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("[privacy]\nepsilonn = 1\n", "privacy.epsilonn"),
        ("[nothing]\n", "nothing"),
        ("[privacy]\nmin_sigma = -1\n", "privacy.min_sigma"),
        ("[rounds]\nsample_rate = 2\n", "rounds.sample_rate"),
        ('[privacy]\nunit = "record"\n', "privacy.unit"),
        ("[privacy\n", "not valid TOML"),
    ],
)
def test_what_is_wrong_is_named(home: Path, text: str, named: str) -> None:
    path = home / "storeweave.toml"
    path.write_text(text)
    with pytest.raises(BadConfig) as caught:
        load_settings()
    assert named in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_secret_in_the_wrong_place_is_not_quoted(home: Path) -> None:
    (home / "storeweave.toml").write_text('[hq]\nport = "s3cret"\n')
    with pytest.raises(BadConfig) as caught:
        load_settings()
    assert "s3cret" not in str(caught.value)


def test_a_named_file_must_exist(home: Path) -> None:
    with pytest.raises(BadConfig, match="does not exist"):
        load_settings(home / "none.toml")


def test_settings_cannot_be_changed(home: Path) -> None:
    with pytest.raises(ValueError, match="frozen"):
        load_settings().rounds.steps = 3


def test_the_privacy_digest_sees_privacy_and_nothing_else(home: Path) -> None:
    (home / "storeweave.toml").write_text('[performance]\nthreads = 3\ndevice = "cpu"\n')
    assert privacy_digest(load_settings().privacy) == privacy_digest(PrivacySettings())
    for name, value in (("quarter_epsilon", 1.0), ("clip", 0.5), ("min_customers", 10)):
        changed = PrivacySettings.model_validate({name: value})
        assert privacy_digest(changed) != privacy_digest(PrivacySettings())
    assert not set(PerformanceSettings.model_fields) & set(PrivacySettings.model_fields)


def test_cache_folder_may_be_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STOREWEAVE_CACHE", str(tmp_path / "cache"))
    assert cache_folder() == tmp_path / "cache"
