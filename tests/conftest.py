"""Fixtures that all tests share."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent

settings.register_profile(
    "project",
    deadline=None,
    derandomize=True,
    database=None,
    max_examples=60,
    # Fixtures that tests share are never changed by them.
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
settings.load_profile("project")


@pytest.fixture(scope="session")
def tiny_vocab() -> list[str]:
    """A WordPiece vocabulary that spells every word of small Latin letters and digits."""
    characters = [*"abcdefghijklmnopqrstuvwxyz0123456789"]
    words = ["the", "film", "is", "good", "bad", "not", "very", "un", "##ing", "##ly", "##able"]
    return [
        *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"),
        *characters,
        *(f"##{character}" for character in characters),
        *words,
        *".,!?'\"-",
        *"这部电影很好看不错差酒店服务房间，。！",
    ]


@pytest.fixture(scope="session")
def run_script() -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs ``python -m module args`` at the project's root; ``env`` is added to this process's environment."""

    def run(module: str, *args: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", module, *args],
            cwd=ROOT,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    return run
