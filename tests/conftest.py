"""Fixtures that all tests share."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
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


@pytest.fixture(scope="session", autouse=True)
def shared_graphs(tmp_path_factory):
    """Static graphs are made once a session for the same weights, shape and wishes: making one takes most of a second.

    What a graph is made from decides it wholly, so that what is shared is what would have been made.
    """
    import core.static_graph
    import core.teacher
    import ofa_bert.find
    from core.teacher import weights_checksum
    from models.folder import model_config

    make, folder = core.static_graph.save_graph, tmp_path_factory.mktemp("graphs")

    def save_graph(loaded, target, wanted=None, with_outputs=True, wrap=None):
        if wrap is not None:
            return make(loaded, target, wrap=wrap)
        asked = json.dumps([weights_checksum(loaded), model_config(loaded), wanted, with_outputs], sort_keys=True)
        known = folder / hashlib.sha256(asked.encode()).hexdigest()
        if not (known / "names").is_file():
            known.mkdir(exist_ok=True)
            names = make(loaded, known, wanted, with_outputs)
            (known / "names").write_text("\n".join(names))
        for name in core.static_graph.FILES:
            shutil.copyfile(known / name, Path(target) / name)
        return tuple((known / "names").read_text().split("\n"))

    with pytest.MonkeyPatch.context() as patch:
        for module in (core.static_graph, core.teacher, ofa_bert.find):
            patch.setattr(module, "save_graph", save_graph)
        yield


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
