"""A model behind HTTP."""

from __future__ import annotations

import json
import re
import signal
import socket
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import tiny

from console import InputError, run_script
from deploy import serve as script
from deploy.exporter import export
from deploy.options import ExportOptions, ServeOptions
from deploy.predictor import Predictor
from deploy.server import Batcher, Handler, Refused, Server, rows_of

TEXTS = ["a good film", "the story is very dull , and it is weak", "bad", "the cast was fine"]


@pytest.fixture(scope="module")
def exports(tmp_path_factory):
    """Exports of a Bi-LSTM for single texts and of a BERT for pairs."""
    root = tmp_path_factory.mktemp("exports")
    for name, loaded in (("bilstm", tiny.bilstm()), ("pairs", tiny.bert(tiny.PAIR))):
        tiny.write_model(root / "models" / name, loaded)
        export(ExportOptions(model_dir=str(root / "models" / name), output_dir=str(root / name)))
    return root


@pytest.fixture
def start(exports):
    """Starts servers, which end with the test."""
    running = []

    def started(name="bilstm", **changes):
        server = Server(ServeOptions(model_dir=str(exports / name), port=0, threads=1, **changes))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        running.append((server, thread))
        return server

    yield started
    for server, thread in running:
        server.shutdown()
        thread.join()
        server.end()


def ask(server, body, path="/predict", method=None):
    """Status and JSON of an answer."""
    data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(server.url + path, data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"null")


def raw(server, sent, close=True):
    """All that comes back for bytes over one connection."""
    with socket.create_connection(server.server_address[:2], timeout=60) as client:
        client.sendall(sent)
        if close:
            client.shutdown(socket.SHUT_WR)
        found = b""
        while part := client.recv(1 << 16):
            found += part
    return found


def test_answers_are_those_of_the_predictor_whatever_form_rows_have(start, exports):
    server = start()
    expected = [
        one.as_dict(("sentence",)) for one in Predictor(exports / "bilstm", 1).predict([(text,) for text in TEXTS])
    ]
    for body in (
        TEXTS,
        {"rows": TEXTS},
        [[text] for text in TEXTS],
        [{"sentence": text} for text in TEXTS],
        b"\xef\xbb\xbf" + json.dumps(TEXTS).encode(),
    ):
        assert ask(server, body) == (200, {"predictions": expected})
    assert ask(server, [])[1] == {"predictions": []}


def test_what_else_a_row_tells_stays_beside_its_answer(start):
    _, found = ask(start(), b'[{"id": 7, "sentence": "\\u597d film", "score": NaN}]')
    (one,) = found["predictions"]
    assert (one["id"], one["sentence"], one["score"]) == (7, "好 film", None)
    assert one["label"] in ("0", "1") and 0.5 <= one["probability"] <= 1


def test_pairs_are_served_too(start, exports):
    rows = [("how to swim", "the very end"), ("it is dull", "bad")]
    (first, _) = Predictor(exports / "pairs", 1).task.text_columns
    status, found = ask(start("pairs"), [list(row) for row in rows])
    assert status == 200 and [one[first] for one in found["predictions"]] == ["how to swim", "it is dull"]
    labels = [one.label for one in Predictor(exports / "pairs", 1).predict(rows)]
    assert [one["label"] for one in found["predictions"]] == labels


def test_what_is_served_and_that_it_is_there(start):
    server = start()
    assert ask(server, None, "/health") == (200, {"status": "ok"})
    status, about = ask(server, None, "/")
    assert status == 200
    assert about == {
        "task": "sst-2",
        "text_columns": ["sentence"],
        "labels": ["0", "1"],
        "max_seq_length": 32,
        "form": "paddle",
        "precision": "fp32",
        "max_rows": 1000,
    }
    assert raw(server, b"HEAD /health HTTP/1.0\r\n\r\n").endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "expected JSON"),
        (b"[" * 100_000, 400, "expected JSON"),
        (b"9" * 5000, 400, "expected JSON"),
        (b"\xff", 400, "expected UTF-8, found byte 0xff"),
        (b"", 400, "expected JSON"),
        ("a text", 400, 'expected a list of rows, or {"rows": [...]}, found "a text"'),
        ({"row": ["a"]}, 400, 'found {"row": ["a"]}'),
        ({"rows": None}, 400, 'found {"rows": null}'),
        (["fine", ""], 400, "row 2: the text in column 'sentence' is empty"),
        (["fine", 1], 400, "row 2: expected a text in column 'sentence', found 1"),
        ([["a", "b"]], 400, "row 1: expected 1 text(s), sentence; found 2"),
        ([{"text": "a"}], 400, "row 1: has no 'sentence'; expected 'sentence', found ['text']"),
        (b'["\\u0000"]', 400, "row 1: a NUL character"),
        (b'["\\ud800"]', 400, "row 1: half a surrogate pair"),
        (["a"] * 4, 413, "expected at most 3 rows a request, found 4"),
        (b" " * ((1 << 20) + 1), 413, "expected at most 1,048,576 bytes a request"),
    ],
)
def test_what_cannot_be_answered_is_told_to_whoever_asked_and_the_next_request_is_answered(
    start, body, status, message
):
    server = start(max_rows=3)
    found, told = ask(server, body)
    assert found == status and message in told["error"]
    assert ask(server, ["a good film"])[0] == 200


def test_who_announces_too_much_and_falls_silent_is_told_so(start, monkeypatch):
    monkeypatch.setattr(Handler, "timeout", 0.5)
    server = start(max_rows=3)
    told = raw(server, b"POST /predict HTTP/1.1\r\nHost: h\r\nContent-Length: 4194304\r\n\r\n[", close=False)
    assert told.startswith(b"HTTP/1.1 413 ") and b"expected at most 1,048,576 bytes a request" in told
    assert ask(server, ["a good film"])[0] == 200


@pytest.mark.parametrize(
    ("path", "method", "body", "status", "message"),
    [
        ("/nothing", None, None, 404, "expected one of POST /predict, GET /health, GET /"),
        ("/predict", None, None, 405, "/predict takes POST"),
        ("/health", None, b"x", 405, "/health takes GET"),
        ("/nothing", None, b"x", 404, "nothing here"),
        ("/predict", "PUT", b"x", 501, "Unsupported method"),
    ],
)
def test_other_places_and_methods_are_refused(start, path, method, body, status, message):
    found, told = ask(start(), body, path, method)
    assert found == status and message in told["error"]


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (b"POST /predict HTTP/1.1\r\n\r\n", b"411"),
        (b"POST /predict HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", b"411"),
        (b"POST /predict HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", b"411"),
        (b"POST /predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"400"),
        (b"POST /predict HTTP/1.1\r\nContent-Length: \xb2\r\n\r\n", b"400"),
        (b"POST /predict HTTP/1.1\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n", b"413"),
        (b"GET " + b"/" * 70_000 + b" HTTP/1.1\r\n\r\n", b"414"),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", b"431"),
        (b"nonsense with too many words\r\n\r\n", b"400"),
    ],
)
def test_a_header_that_says_nothing_good_ends_its_connection_with_json(start, head, status):
    found = raw(start(), head, close=False)
    assert found.startswith(b"HTTP/1.1 " + status), found[:80]
    assert "error" in json.loads(found.split(b"\r\n\r\n", 1)[1])
    assert b"PaddleDistill\r\n" in found and b"Python" not in found


def test_a_client_that_leaves_in_the_middle_of_its_request_is_no_error(start, capsys):
    server = start()
    assert raw(server, b'POST /predict HTTP/1.1\r\nContent-Length: 50\r\n\r\n["a g') == b""
    assert ask(server, ["a good film"])[0] == 200
    assert "Traceback" not in capsys.readouterr().err


def test_several_requests_go_over_one_connection(start):
    body = b'["a good film"]'
    one = b"POST /predict HTTP/1.1\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    # The second is refused for what it says, not for how long it is: the connection stays.
    wrong = b"POST /predict HTTP/1.1\r\nContent-Length: 1\r\n\r\n{"
    found = raw(start(), one + wrong + one)
    assert re.findall(rb"HTTP/1.1 (\d+)", found) == [b"200", b"400", b"200"]


def test_requests_that_come_together_get_their_own_answers(start, exports):
    server = start(batch_size=8)
    rows = [TEXTS[n % 4 :] + TEXTS[: n % 3] for n in range(60)]
    known = {
        text: one.logits
        for text, one in zip(TEXTS, Predictor(exports / "bilstm", 1).predict([(t,) for t in TEXTS]), strict=True)
    }
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda texts: ask(server, texts), rows))
    for texts, (status, found) in zip(rows, answers, strict=True):
        assert status == 200 and [one["sentence"] for one in found["predictions"]] == texts
        for one in found["predictions"]:
            np.testing.assert_allclose(one["logits"], known[one["sentence"]], atol=2e-6)
    assert server.batcher.answered == sum(map(len, rows))


class Slow:
    """A predictor that answers when it is let, and notes what it was asked."""

    def __init__(self):
        self.batches, self.go = [], threading.Semaphore(0)
        self.asked = threading.Semaphore(0)

    def predict(self, rows, batch_size):
        self.batches.append([row[0] for row in rows])
        self.asked.release()
        assert self.go.acquire(timeout=60)
        if any(row[0] == "bad" for row in rows):
            raise InputError("not finite")
        return [row[0].upper() for row in rows]


def waiting(batcher, rows):
    """Waits until that many rows do."""
    with batcher._changed:
        assert batcher._changed.wait_for(lambda: batcher._rows == rows, 60)


def test_what_waits_shares_a_batch_what_is_too_much_is_refused_and_the_end_answers_all():
    slow = Slow()
    batcher = Batcher(slow, batch_size=4, most_waiting=6)
    with ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(batcher.ask, [("first",)])]
        assert slow.asked.acquire(timeout=60)
        # The first is being computed: it waits no longer.
        for n, rows in enumerate([["a", "b"], ["c"], ["d", "e"]]):
            answers.append(pool.submit(batcher.ask, [(row,) for row in rows]))
            waiting(batcher, [2, 3, 5][n])
        with pytest.raises(Refused, match="5 rows wait"):
            batcher.ask([("x",), ("y",)])
        answers.append(pool.submit(batcher.ask, [("bad",)]))
        waiting(batcher, 6)
        ended = pool.submit(batcher.close)
        slow.go.release(4)
        ended.result(60)
        with pytest.raises(InputError, match="not finite"):
            answers.pop().result(60)
        # "d", "e" would have been five in a batch of four; they went with the one that failed.
        with pytest.raises(InputError, match="not finite"):
            answers.pop().result(60)
        assert [answer.result(60) for answer in answers] == [["FIRST"], ["A", "B"], ["C"]]
    assert slow.batches == [["first"], ["a", "b", "c"], ["d", "e", "bad"]]
    assert batcher.answered == 4
    with pytest.raises(Refused, match="about to end"):
        batcher.ask([("late",)])


def test_more_rows_than_may_wait_are_answered_when_none_does(start):
    assert ask(start(max_waiting=2), TEXTS)[0] == 200


def test_a_request_with_columns_of_a_pair():
    body = json.dumps([{"b": "y ", "a": "x", "n": 1}, ["p", "q"]]).encode()
    assert rows_of(body, ("a", "b"), 5) == ([("x", "y"), ("p", "q")], [{"n": 1}, {}])
    with pytest.raises(Refused, match=r"row 1: expected 2 text\(s\), a, b; found 1"):
        rows_of(b'["x"]', ("a", "b"), 5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--model_dir", "nowhere"], "--model_dir nowhere"),
        (["--model_dir", "EXPORT", "--port", "70000"], "--port 70000"),
        (["--model_dir", "EXPORT", "--port", "TAKEN"], "cannot be listened on (address already in use)"),
        (["--model_dir", "EXPORT", "--host", "192.0.2.1"], "cannot be listened on"),
        (["--model_dir", "EXPORT", "--host", "no such host"], "--host no such host: no such address"),
        (["--model_dir", "EXPORT", "--n_best_size", "2"], "--n_best_size: the model in"),
        (["--model_dir", "EXPORT", "--precision", "int8"], "nothing for --precision int8"),
    ],
)
def test_bad_options_are_told_in_one_line(exports, capsys, words, message):
    with socket.create_server(("127.0.0.1", 0)) as other:
        places = {"EXPORT": str(exports / "bilstm"), "TAKEN": str(other.getsockname()[1])}
        assert run_script(script.main, [places.get(word, word) for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error and len(error.splitlines()) == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_answers_until_it_is_told_to_end(exports, number):
    child = tiny.start("deploy.serve", "--model_dir", str(exports / "bilstm"), "--port", "0", "--threads", "1")
    try:
        line = child.stdout.readline()
        url = re.search(r"(http://127\.0\.0\.1:\d+)/predict", line)
        assert url is not None, line
        with urllib.request.urlopen(url[0], b'["a good film", "bad"]', timeout=60) as answer:
            assert len(json.load(answer)["predictions"]) == 2
        child.send_signal(number)
        said, _ = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 0
    assert said.splitlines()[-1] == "2 rows answered"
