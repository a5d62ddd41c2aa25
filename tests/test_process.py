"""The environment of a process: which settings are added, that the user's own stay, and that it starts again once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from process import ALLOCATOR, MARK, OFF, matrix_kernels, settings, without_tuning

ROOT = Path(__file__).resolve().parent.parent
AVX2 = "fpu sse4_2 avx fma avx2 bmi2"
AVX512 = f"{AVX2} avx512f avx512dq avx512bw avx512vl avx512cd"


def cpuinfo(vendor: str, flags: str, cores: int = 2) -> str:
    core = f"processor\t: %d\nvendor_id\t: {vendor}\nmodel name\t: some\nflags\t\t: {flags}\n"
    return "\n".join(core % number for number in range(cores))


@pytest.mark.parametrize(
    ("text", "kernels"),
    [
        (cpuinfo("GenuineIntel", AVX512), None),
        (cpuinfo("GenuineIntel", AVX2), None),
        (cpuinfo("AuthenticAMD", AVX512), "7"),
        (cpuinfo("AuthenticAMD", AVX2), "5"),
        (cpuinfo("AuthenticAMD", AVX512.replace("avx512bw", "")), "5"),
        (cpuinfo("AuthenticAMD", "fpu avx avx2"), None),
        (cpuinfo("AuthenticAMD", "fpu sse4_2"), None),
        (cpuinfo("HygonGenuine", AVX2), "5"),
        ("processor\t: 0\nBogoMIPS\t: 50.00\nFeatures\t: fp asimd\n", None),
        ("", None),
        ("no fields at all", None),
    ],
)
def test_the_kernels_fit_the_processor(text, kernels):
    assert matrix_kernels(text) == kernels


def test_settings_of_an_amd_machine():
    added = settings({}, cpuinfo("AuthenticAMD", AVX512), 4)
    expected = {**ALLOCATOR, "MKL_DEBUG_CPU_TYPE": "7", "OMP_NUM_THREADS": "4", "FLAGS_use_stride_kernel": "0"}
    assert {name: added.get(name) for name in expected} == expected


def test_settings_of_an_intel_machine_leave_the_kernels_alone():
    assert "MKL_DEBUG_CPU_TYPE" not in settings({}, cpuinfo("GenuineIntel", AVX512), 4)


def test_settings_that_are_there_are_not_added_again():
    added = settings({}, cpuinfo("AuthenticAMD", AVX2), 4)
    assert settings(added, cpuinfo("AuthenticAMD", AVX2), 4) == {}


def test_what_the_user_has_set_stays():
    own = {"MKL_DEBUG_CPU_TYPE": "4", "OMP_NUM_THREADS": "1", "GLOG_minloglevel": "0", "MALLOC_TOP_PAD_": ""}
    assert not own.keys() & settings(own, cpuinfo("AuthenticAMD", AVX512), 4).keys()


@pytest.mark.parametrize(("ranks", "threads"), [("1", "8"), ("2", "4"), ("3", "2"), ("16", "1")])
def test_ranks_share_the_cores(ranks, threads):
    assert settings({"PADDLE_TRAINERS_NUM": ranks}, "", 8)["OMP_NUM_THREADS"] == threads


def test_a_plain_child_gets_none_of_it():
    environment = {"HOME": "/h", MARK: "1", "MKL_DEBUG_CPU_TYPE": "7", "OMP_NUM_THREADS": "2", **ALLOCATOR}
    assert without_tuning({**environment, "FLAGS_use_stride_kernel": "0"}) == {"HOME": "/h", OFF: "1"}


def started(folder: Path, script: str, words: list[str], **environment: str) -> list[dict[str, object]]:
    """Runs a script; the records that it wrote, one a start."""
    path, log = folder / "script.py", folder / "log.jsonl"
    log.unlink(missing_ok=True)
    path.write_text(script, encoding="utf-8")
    clean = {k: v for k, v in os.environ.items() if k not in (MARK, OFF, "OMP_NUM_THREADS", *ALLOCATOR)}
    subprocess.run(
        [sys.executable, "-W", "ignore", str(path), *words],
        env={**clean, "PYTHONPATH": str(ROOT), "LOG": str(log), **environment},
        check=True,
        timeout=60,
    )
    return [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]


SCRIPT = f"""
import json, os, sys
with open(os.environ["LOG"], "a", encoding="utf-8") as log:
    print(json.dumps({{"argv": sys.argv[1:], "warn": sys.warnoptions, "environ": dict(os.environ)}}), file=log)
import process
process.tune()
process.tune()
assert {MARK!r} in os.environ or {OFF!r} in os.environ
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems start as they are")
def test_a_script_starts_again_once_with_the_settings(tmp_path):
    first, second = started(tmp_path, SCRIPT, ["a b", "--c=\"d'"])
    assert first["argv"] == second["argv"] == ["a b", "--c=\"d'"]
    assert second["warn"][-1] == "ignore"
    assert MARK not in first["environ"]
    assert second["environ"][MARK] == "1"
    assert {name: second["environ"][name] for name in ALLOCATOR} == ALLOCATOR
    assert second["environ"]["OMP_NUM_THREADS"] == str(len(os.sched_getaffinity(0)))


def test_the_users_threads_stay_after_the_start(tmp_path):
    records = started(tmp_path, SCRIPT, [], OMP_NUM_THREADS="1")
    assert records[-1]["environ"]["OMP_NUM_THREADS"] == "1"


def test_tuning_can_be_switched_off(tmp_path):
    assert len(started(tmp_path, SCRIPT, [], **{OFF: "1"})) == 1


def test_a_tuned_child_of_a_tuned_process_does_not_start_again(tmp_path):
    assert len(started(tmp_path, SCRIPT, [], **{MARK: "1"})) == 1


def in_a_process(code, **more):
    environment = {k: v for k, v in os.environ.items() if k not in (MARK, OFF, *ALLOCATOR)}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**environment, **more}, capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_a_running_process_is_set_up_as_a_script_is():
    code = (
        "import json, os, process\nlost = process.tune_here()\n"
        "names = [*process.ALLOCATOR, 'OMP_NUM_THREADS', 'FLAGS_use_stride_kernel', process.MARK]\n"
        "print(json.dumps([lost, [name in os.environ for name in names], process.tune_here()]))"
    )
    lost, known, again = in_a_process(code)
    assert lost == [] and all(known) and again == []


def test_what_can_no_longer_be_set_is_told():
    code = (
        "import json, sys, types\nsys.modules['paddle'] = types.ModuleType('paddle')\n"
        "import process\nprint(json.dumps(process.tune_here()))"
    )
    (lost,) = in_a_process(code)
    assert "Paddle was imported before" in lost and "restart the kernel" in lost


def test_a_running_process_is_left_alone_where_that_is_asked_for():
    code = (
        "import json, os, process\nprocess.tune_here()\nprint(json.dumps([n in os.environ for n in process.ALLOCATOR]))"
    )
    assert in_a_process(code, **{OFF: "1"}) == [False, False, False]
