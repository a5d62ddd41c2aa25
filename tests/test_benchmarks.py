"""The arithmetic and the records of the measurements."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import bf16, common, mlm_stages, ofa, ofa_guides, peers, readme, recipe, sst2, tasks
from benchmarks.sides import bert_flops, lstm_flops
from benchmarks.word_vectors import LENGTH, word_vectors, write_vectors
from console import InputError
from data.vectors import read_vectors
from models.bert import BertConfig
from models.bilstm import BiLSTMConfig


def test_flops_of_a_bert_by_hand():
    config = BertConfig(hidden_size=4, num_attention_heads=2, intermediate_size=8, num_hidden_layers=3)
    # One row of 5 tokens, a layer: projections 4 * 4 * 4 = 64 and feed-forward 2 * 4 * 8 = 64 weights, each used once a
    # token: 128 * 5 = 640; scores and mixing 2 * 4 * 25 = 200. Twice (multiply and add), three layers: 2 * 3 * 840.
    assert bert_flops(config, tokens=5, squared_tokens=25) == 5040


def test_flops_of_a_bilstm_by_hand():
    # Two directions, four gates of 3 units over 3 + 2 inputs: 2 * 4 * 3 * 5 = 120 weights, twice, 10 tokens.
    assert lstm_flops(BiLSTMConfig(vocab_size=7, embedding_size=2, hidden_size=3), tokens=10) == 2400


def test_stock_environment_takes_the_tuning_away(monkeypatch):
    monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", "7")
    plain, kernels = common.stock_environment(kernels=False), common.stock_environment(kernels=True)
    assert "MALLOC_TOP_PAD_" not in plain and "MKL_DEBUG_CPU_TYPE" not in plain
    assert "MALLOC_TOP_PAD_" not in kernels and kernels["MKL_DEBUG_CPU_TYPE"] == "7"


def test_a_result_names_no_path_of_the_machine(tmp_path, monkeypatch):
    monkeypatch.setattr(common, "RESULTS", tmp_path)
    arguments = argparse.Namespace(data_dir=os.fspath(tmp_path), work_dir=None, seed=3, turns=2)
    common.write_result("sst2", arguments, {"rows": 1}, seconds=120)
    record = json.loads((tmp_path / "sst2.json").read_text(encoding="utf-8"))
    assert record["command"] == "python -m benchmarks.sst2 --seed 3 --turns 2"
    assert record["minutes"] == 2 and record["seed"] == 3 and record["figures"] == {"rows": 1}


def test_sides_take_turns_and_medians_are_taken():
    sides = [
        common.Side(
            name, "tests_sides:counted", {"rows": rows}, {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
        )
        for name, rows in (("one", 1), ("two", 2))
    ]
    rates = common.alternate(sides, turns=3)
    assert rates.keys() == {"one", "two"}
    assert all(rate["turns"] == 3 and rate["rows_per_second"] > 0 for rate in rates.values())


def test_a_side_that_fails_is_not_waited_for():
    side = common.Side("broken", "no_such_module:maker", {}, dict(os.environ))
    with pytest.raises(RuntimeError, match="ended early"):
        common.alternate([side], turns=1)


def test_words_in_the_same_places_have_near_vectors(tmp_path):
    # Two kinds of sentences; within a kind, the first words are interchangeable.
    rng = np.random.default_rng(0)
    lines = [
        f"{rng.choice(kind[0])} {' '.join(rng.choice(kind[1], 3))}"
        for kind in ((["cat", "dog"], ["eats", "sleeps", "runs"]), (["car", "bus"], ["drives", "stops", "turns"])) * 200
    ]
    words, vectors = word_vectors(lines, "en", size=4)
    assert set(words) == {"cat", "dog", "car", "bus", "eats", "sleeps", "runs", "drives", "stops", "turns"}
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), LENGTH, rtol=1e-5)
    cat, dog, car = (vectors[words.index(word)] / LENGTH for word in ("cat", "dog", "car"))
    assert cat @ dog > 0.8 > 0.3 > cat @ car
    write_vectors(tmp_path / "v.vec", words, vectors)
    found, width = read_vectors(tmp_path / "v.vec", ["cat"])
    np.testing.assert_allclose(found["cat"], LENGTH * cat, atol=1e-3)
    assert width == 4


def test_too_few_words_for_vectors_are_refused():
    with pytest.raises(InputError, match="2 words occur 5 times: too few for vectors of 4"):
        word_vectors(["a b"] * 5, "en", size=4)


def test_more_partners_are_a_measurement_of_their_own():
    assert list(tasks.question_pairs("d").transfer_sets) == ["augmented", "repaired"]
    found = tasks.question_pairs("d", 8).transfer_sets
    assert found == {
        "8-new-partners": {"n_iter": 0, "repair_pairs": 8, "unlabeled_file": (os.path.join("d", tasks.EXTRA_PAIRS),)}
    }

    def of(**given):
        defaults = {
            "precision": "fp32",
            "partners": 1,
            "pair_alignment": False,
            "repair_with": "rare_word",
            "adapt": False,
            "relearn": 0,
            "together": False,
            "teacher": None,
        }
        return argparse.Namespace(**{**defaults, **given})

    assert tasks.result_name(of(task="qqp", partners=8)) == "qqp_partners"
    assert tasks.result_name(of(task="qqp")) == "qqp"
    assert tasks.result_name(of(task="chnsenticorp", adapt=True)) == "chnsenticorp_adapted"
    assert tasks.result_name(of(task="chnsenticorp", adapt=True, relearn=1)) == "chnsenticorp_relearnt"
    found = tasks.result_name(of(task="chnsenticorp", adapt=True, relearn=1, together=True))
    assert found == "chnsenticorp_together"
    assert tasks.result_name(of(task="qqp", partners=8, pair_alignment=True)) == "qqp_aligned"
    nearest = {"repair_with": "nearest", "partners": 4}
    assert tasks.result_name(of(task="qqp", **nearest)) == "qqp_nearest"
    assert tasks.result_name(of(task="qqp", **nearest, pair_alignment=True)) == "qqp_nearest_aligned"
    (made,) = tasks.question_pairs("d", 4, repair_with="nearest").transfer_sets.items()
    assert (made[0], made[1]["repair_with"], made[1]["repair_pairs"]) == ("4-nearest-partners", "nearest", 4)
    assert "pair_alignment" not in tasks.question_pairs("d").student
    assert tasks.question_pairs("d", 8, aligned=True).student["pair_alignment"]
    with pytest.raises(InputError, match="--pair_alignment goes with --task qqp"):
        tasks.plan(of(task="tnews", pair_alignment=True), common.ROOT)
    with pytest.raises(InputError, match="--partners goes with --task qqp"):
        tasks.plan(of(task="tnews", partners=8), common.ROOT)
    with pytest.raises(InputError, match="--adapt goes with --task chnsenticorp and the encoder"):
        tasks.plan(of(task="chnsenticorp", adapt=True), common.ROOT)
    with pytest.raises(InputError, match="--relearn goes with --adapt"):
        tasks.plan(of(task="chnsenticorp", relearn=1), common.ROOT)
    with pytest.raises(InputError, match="--together goes with --adapt"):
        tasks.plan(of(task="chnsenticorp", together=True), common.ROOT)


def test_students_of_stages_learn_to_classify_and_the_encoder_to_read():
    every = [*mlm_stages.CLASSIFIERS, "cmrc2018"]
    assert mlm_stages.tasks_of("encoder", every) == ["cmrc2018"]
    assert mlm_stages.tasks_of("two_stage", every) == ["chnsenticorp", "tnews", "afqmc"]


def test_what_no_teacher_taught_is_the_same_in_both_ways_to_distil(monkeypatch):
    begun = {}
    monkeypatch.setattr(recipe, "run", lambda module, options, jobs: begun.update({options["output_dir"]: options}))
    monkeypatch.setattr(recipe, "once", lambda module, options: None)
    shared = Path("shared")
    for with_text, place in ((False, shared), (True, Path("with_text"))):
        arguments = argparse.Namespace(with_text=with_text, seed=0, jobs=1)
        folders = mlm_stages.Folders(Path("encoder"), place, shared)
        mlm_stages.pretrain(arguments, Path("corpus"), folders)
        assert folders.tuned("alone", "tnews", 1) == shared / "tuned" / "alone-tnews-1"
        assert folders.tuned("two_stage", "tnews", 1).parent.parent == place
    taught = ("assistant", "one_stage", "two_stage")
    assert begun.keys() == {
        "shared/alone",
        *(f"{place}/{name}" for place in ("shared", "with_text") for name in taught),
    }
    assert "mlm_weight" not in begun["shared/two_stage"]
    assert begun["with_text/two_stage"]["mlm_weight"] == 1.0
    assert begun["with_text/one_stage"]["student_model"] == begun["shared/alone"]["student_model"]
    assert begun["with_text/two_stage"]["student_model"] == "with_text/from_assistant_start"


def test_after_a_fault_nothing_more_is_trained():
    begun = []

    def broken() -> None:
        begun.append("broken")
        raise InputError("no")

    def later() -> None:
        begun.append("later")
        time.sleep(0.05)

    def slow() -> None:
        time.sleep(1)

    for jobs, work in ((1, [broken]), (2, [slow, broken])):
        begun.clear()
        with pytest.raises(InputError, match="no"):
            recipe.at_once([*work, *[later] * 50], jobs)
        assert begun[0] == "broken" and len(begun) < 10


def test_a_teacher_learns_once_more_after_the_students_on_labels_alone(tmp_path, monkeypatch):
    begun = []
    stub = {"dev": {"accuracy": 0.9}, "training_minutes": 1.0}
    monkeypatch.setattr(
        recipe, "run", lambda module, options, jobs, where="output_dir": begun.append((module, options))
    )
    monkeypatch.setattr(recipe, "prepare_transfer", lambda plan, options, data, teachers, target, cache: {"rows": 9})
    monkeypatch.setattr(recipe, "one", lambda folder, data: {**stub, "of": folder.name})
    monkeypatch.setattr(recipe, "many", lambda folders, data: {**stub, "of": [folder.name for folder in folders]})
    arguments = argparse.Namespace(
        precision="bf16", task="chnsenticorp", adapt=True, relearn=2, teacher="encoder", partners=1,
        pair_alignment=False, repair_with="rare_word", seed=0, reviews_dir="r", data_dir="d", max_train_rows=0,
        together=False, seeds=[1, 2, 3],
    )  # fmt: skip
    monkeypatch.setattr(tasks, "adapted", lambda given, folder: folder / "adapted")
    monkeypatch.setattr(tasks, "vectors", lambda given, path: path)
    found = recipe.measure(tasks.plan(arguments, tmp_path), "d", tmp_path, 1)
    names = [Path(options["output_dir"]).name for _, options in begun]
    students = [f"relearnt2-reviews-{seed}" for seed in recipe.SEEDS]
    alone = [f"alone-{seed}" for seed in recipe.SEEDS]
    assert names == ["teacher", *alone, "relearnt", "relearnt2", *students]
    assert {options["precision"] for _, options in begun} == {"bf16"}
    asks = [name for name, (_, options) in zip(names, begun, strict=True) if "teacher_precision" in options]
    assert asks == ["relearnt", "relearnt2", *students]
    for (_, relearning), before in zip(begun[4:6], ("teacher", "relearnt"), strict=True):
        assert relearning["student_model"] == relearning["teacher_model"] == str(tmp_path / before)
        assert relearning["more_teachers"] == tuple(str(tmp_path / name) for name in alone)
        assert len(relearning["teacher_weights"]) == 1 + len(alone)
    assert all(options["teacher_dir"] == (str(tmp_path / "relearnt2"),) for _, options in begun[6:])
    assert [part["of"] for part in found["earlier_teachers"]] == ["teacher", "relearnt"]
    assert found["teacher"]["of"] == "relearnt2"
    # Three teachers one after the other, six students by two.
    found["alone"]["training_minutes"] = found["reviews"]["training_minutes"] = [1.0, 1.0, 4.0]
    assert recipe.training_minutes(found, 2) == 3 + 6
    assert (found["alone"]["of"], found["reviews"]["of"]) == (alone, students)
    begun.clear()
    found = recipe.measure(tasks.plan(arguments, tmp_path), "d", tmp_path, 1, with_distilled=False)
    assert [Path(options["output_dir"]).name for _, options in begun] == ["teacher", *alone, "relearnt", "relearnt2"]
    assert found["teacher"]["of"] == "relearnt2"
    assert "reviews" not in found
    begun.clear()
    means = {"accuracy": 0.99, "accuracy_on_unseen_texts": 0.5}
    monkeypatch.setattr(recipe, "together", lambda folders, weights, data: {"dev": means, "of": folders, "by": weights})
    arguments.relearn, arguments.together = 1, True
    found = recipe.measure(tasks.plan(arguments, tmp_path), "d", tmp_path, 1)
    names = [Path(options["output_dir"]).name for _, options in begun]
    assert names == ["teacher", *alone, "relearnt", *(f"relearnt-together-reviews-{seed}" for seed in recipe.SEEDS)]
    together = tuple(str(tmp_path / name) for name in ("relearnt", *alone))
    for _, options in begun[5:]:
        assert (options["teacher_dir"], options["teacher_weights"]) == (together, tasks.TOGETHER)
    assert (tuple(map(str, found["together"]["of"])), found["together"]["by"]) == (together, tasks.TOGETHER)
    assert found["settings"]["together"] == list(tasks.TOGETHER)
    # The gap is to what taught; here the students are no better than those alone.
    assert found["gap_closed"] == {"reviews": {"accuracy": 0.0}}


def test_after_a_stop_nothing_more_is_trained(monkeypatch):
    begun = []

    def stopped(*_, **__):
        while not begun:
            time.sleep(0.01)
        raise KeyboardInterrupt

    def later() -> None:
        begun.append("later")
        time.sleep(0.2)

    monkeypatch.setattr(recipe, "wait", stopped)
    with pytest.raises(KeyboardInterrupt):
        recipe.at_once([later] * 20, 1)
    assert len(begun) < 10


def test_what_was_made_with_other_options_is_made_anew(tmp_path, monkeypatch):
    made = []

    def run(module, options, jobs, where):
        made.append(options["size"])
        Path(options[where]).mkdir()

    monkeypatch.setattr(recipe, "run", run)
    for size, data in ((1, "d"), (1, "e"), (2, "d"), (2, "d")):
        recipe.once("m", {"size": size, "data_dir": data, "output_dir": str(tmp_path / "o")})
    assert made == [1, 2]
    # Without a record nobody knows what it is.
    recipe.record_of(tmp_path / "o").unlink()
    recipe.once("m", {"size": 2, "output_dir": str(tmp_path / "o")})
    assert made == [1, 2, 2]


def test_bf16_is_not_measured_where_it_cannot_be_had(monkeypatch):
    monkeypatch.setattr(recipe, "bf16_fault", lambda: "this processor has none")
    with pytest.raises(InputError, match="bf16: this processor has none"):
        bf16.main(["--data_dir", "d"])


def test_recipes_in_bf16_have_a_folder_and_options_of_their_own(monkeypatch):
    monkeypatch.setattr(recipe, "bf16_fault", lambda: "this processor has none")
    recipe.check_precision("fp32")
    reviews = ["--reviews_dir", "r"]
    for module, words in ((sst2, reviews), (tasks, ["--task", "qqp"]), (ofa, reviews), (ofa_guides, [])):
        with pytest.raises(InputError, match="--precision bf16: this processor has none"):
            module.main(["--data_dir", "d", *words, "--precision", "bf16"])
    assert (recipe.suffix("fp32"), recipe.suffix("bf16")) == ("", "_bf16")
    assert sst2.plan("r", 1, "bf16").precision == "bf16"


@pytest.mark.parametrize("seeds", [["1"], ["2", "2"]])
def test_one_seed_has_no_deviation(seeds):
    for module, words in ((sst2, ["--reviews_dir", "r"]), (tasks, ["--task", "qqp"])):
        with pytest.raises(InputError, match="--seeds: expected two at least"):
            module.main(["--data_dir", "d", *words, "--seeds", *seeds])


def test_sst2_counts_what_earlier_commands_took_and_names_its_seeds(monkeypatch, tmp_path):
    """Three teachers of a minute, four students of 30 minutes two at a time, and 90 seconds of answers."""
    about = {"bootstrap_95": [0.8, 1.0], "held_out": 0.9, "parameters": 5, "rows_visited": 7}
    students = {
        **about, "dev": {"accuracy": 0.85}, "standard_deviation": {"accuracy": 0.07}, "chosen": [1, 2],
        "per_seed": {"accuracy": [0.8, 0.9]}, "training_minutes": [30.0, 30.0],
    }  # fmt: skip
    teachers = {**students, "per_seed": {"accuracy": [0.8, 0.9, 0.85]}, "training_minutes": [1.0, 1.0, 1.0]}
    planned = []

    def measured(plan, data_dir, folder, jobs):
        planned.append(plan)
        return {
            "settings": recipe.settings(plan), "teacher": teachers, "alone": students, "averaged": students,
            "transfer_sets": {"averaged": {"rows": 9, "teacher_seconds": 90}}, "together": {"dev": {"accuracy": 0.9}},
            "gap_closed": {"averaged": {"accuracy": 1.0}},
        }  # fmt: skip

    monkeypatch.setattr(recipe, "measure", measured)
    written = []
    monkeypatch.setattr(sst2, "write_result", lambda name, arguments, figures, seconds, script: written.append(
        (name, figures, seconds)
    ))  # fmt: skip
    words = ["--data_dir", "d", "--reviews_dir", "r", "--work_dir", str(tmp_path)]
    sst2.main([*words, "--teachers", "3", "--seeds", "4", "5", "4"])
    ((name, figures, seconds),) = written
    assert (name, planned[0].seeds) == ("sst2_averaged", (4, 5))
    assert figures["distilled"]["per_seed"] == {"4": 0.8, "5": 0.9}
    assert figures["teacher"]["per_seed"] == {"42": 0.8, "1": 0.9, "2": 0.85}
    assert seconds == 60 * (3 + 120 / 2 + 1.5)


def test_what_bf16_changes_is_shown_beside_fp32():
    exact = {"dev": {"accuracy": 0.88}, "standard_deviation": {"accuracy": 0.002}}
    near = {**exact, "dev": {"accuracy": 0.8812}}
    figures = {
        "passes": {"rows_per_second": {"fp32": 344.0, "bf16": 710.4}, "ratio": 710.4 / 344.0},
        "outputs": {"agreement": 0.9991, "mean_absolute": 0.0042, "largest": 0.051, "spread_of_logits": 2.5},
        "students": {"fp32": exact, "bf16": near, "difference": {"bf16": 0.0012}},
        "fine-tuned": {"fp32": exact, "bf16": near, "difference": {"bf16": 0.0012}},
    }
    shown = readme.TABLES["bf16"](figures)
    assert "| Bi-LSTM, answers in fp32 | 88.00 ± 0.20 |  |" in shown
    assert "| BERT, fine-tuned in bf16 | 88.12 ± 0.20 | +0.12 |" in shown
    assert "344 rows/s in fp32 and 710 rows/s in bf16: 2.07 times as fast" in shown
    assert "the same label for 99.91 % of the rows" in shown


def test_the_mean_of_models_is_measured_by_its_weights(monkeypatch):
    said = {"a": [[0.0, 3.0], [1.0, 0.0], [0.0, 1.0]], "b": [[2.0, 0.0], [0.0, 2.0], [0.0, 1.0]]}
    rows = argparse.Namespace(labels=np.array([1, 0, 1]))
    model = argparse.Namespace(parameters=5)
    monkeypatch.setattr(recipe, "dev_logits", lambda folder, data: (np.array(said[folder.name]), rows, model))
    monkeypatch.setattr(recipe, "unseen_rows", lambda *given: np.array([False, True, True]))
    folders = [Path("a"), Path("b")]
    # Equal weights: the first row's mean is (1, 1.5), the second's (0.5, 1); the other way 3 to 1: (0.75, 0.5).
    found = recipe.together(folders, (), "d")
    assert found["dev"] == {"accuracy": pytest.approx(2 / 3), "accuracy_on_unseen_texts": 0.5}
    assert found["parameters"] == 10
    assert recipe.together(folders, (3, 1), "d")["dev"] == {"accuracy": 1.0, "accuracy_on_unseen_texts": 1.0}
    assert recipe.together(folders, (1, 3), "d")["dev"]["accuracy"] == pytest.approx(1 / 3)


def test_topics_of_an_earlier_run_say_how_they_were_measured():
    topics = {"teacher": {"rows_per_second": {"ours": 4.0, "fp32": 2.0}, "ratio_to_best": 2.0}, "has_bf16": False}
    earlier = {
        "command": "python -m benchmarks.peers --turns 2", "date": "2026-01-02", "machine": {"processor": "P"},
        "figures": {**topics, "pytorch": {"torch": "2", "transformers": "4"}},
    }  # fmt: skip
    how = "`python -m benchmarks.peers --turns 2`, 2026-01-02, P"
    found = peers.kept(earlier)
    assert found["teacher"]["measured"] == how and "has_bf16" not in found
    # Kept once more it is still of that run.
    later = {**earlier, "command": "python -m benchmarks.peers --turns 3", "figures": found}
    assert peers.kept(later)["teacher"]["measured"] == how
    found["student"] = topics["teacher"]
    text = readme._peers({**found, "has_bf16": False})
    assert text.endswith(f"\n\nteacher: an earlier run, {how}.")
    assert "(no bf16: the processor has none)" in text


def closer(accuracy):
    near = {"agreement": 0.99, "kl": 0.0123}
    part = {
        "width": 2 / 3,
        "depth": 1.0,
        "encoder_parameters": 7_251_074,
        "trained": {"accuracy": accuracy},
        "near": near,
    }
    return {
        "teacher": {"accuracy": 0.9},
        "sub_networks": [{**part, "after_width_stage": {"accuracy": 0.895}}],
        "settings": {"num_train_epochs": 1, "depth_epochs": 2, "sub_networks_per_step": 4},
        "rows": {"learning_rows": 30_000, "train_rows": 20_000},
        "minutes": {"width": 10.0, "depth": 20.5},
    }


def test_a_sub_network_stands_beside_what_it_was_earlier(monkeypatch):
    """Each below its own teacher: 89.8 - 90.0 now, 89.0 - 91.0 before."""
    before = {"teacher": {"accuracy": 0.91}, "sub_networks": [{**closer(0.89)["sub_networks"][0]}]}
    monkeypatch.setattr(readme, "read_result", lambda name: {"figures": before} if name == "ofa_sst2" else None)
    told = readme.TABLES["ofa_sst2_closer"](closer(0.898))
    assert "| 0.6667 × 1 | 7.25 M | 89.50 | 89.80 | -0.20 | -2.00 | 99.0 % | 0.012 |" in told
    assert "Training, minutes: width 10, depth 20.5." in told


def test_ways_to_teach_depths_are_shown_with_their_rows():
    part = {"accuracy": 0.8, "agreement": 0.95, "kl": 0.1, "two_thirds_kl": 0.05, "training_seconds": 239.6}
    settings = {"max_train_rows": 6000, "ways": {"four": {"max_train_rows": 18000}}}
    figures = {"teacher": {"accuracy": 0.9}, "seeds": [1], "settings": settings, "ways": {"all": part, "four": part}}
    told = readme.TABLES["ofa_guides"](figures)
    assert "; one seed." in told
    assert "| all | 6,000 | 240 | 80.00 | 95.0 | 0.1000 | 0.0500 |" in told
    assert "| four | 18,000 | 240 |" in told
    spread = {**part, "deviation": dict.fromkeys(part, 0.01)}
    told = readme.TABLES["ofa_guides"]({**figures, "seeds": [1, 2], "ways": {"all": spread}})
    assert "2 seeds" in told
    assert "80.00 ± 1.00" in told
