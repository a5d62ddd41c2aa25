"""A predictor behind HTTP: rows of requests that wait at the same time share batches."""

from __future__ import annotations

import contextlib
import json
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from socketserver import TCPServer
from typing import Any

from console import InputError, say
from data.sources import BadRow, checked_text
from deploy.labelling import check_n_best, json_line
from deploy.options import ServeOptions
from deploy.predictor import Answered, Prediction, Predictor

# Seconds that a client may be silent within a request, or between two over one connection.
PATIENCE = 30
# Connections at a time: each has a thread of its own.
CONNECTIONS = 256
# Bytes of a request for every row that it may hold.
BYTES_PER_ROW, FEWEST_BYTES = 1 << 14, 1 << 20
# Times as many bytes as are taken are still read, to be answered that they are too many.
PASSED_OVER = 8


class Refused(Exception):
    """A request that is not answered: what is wrong with it, for whoever sent it."""

    def __init__(self, status: HTTPStatus, message: str) -> None:
        super().__init__(message)
        self.status = status


@dataclass
class Asked:
    """The rows of one request, and where what the model says of them goes."""

    rows: list[tuple[str, ...]]
    answer: Future[Sequence[Prediction | Answered]] = field(default_factory=Future)


class Batcher:
    """Lets one thread ask the predictor, for all requests that wait at that moment.

    Nothing is held back to wait for company: under little load a request is answered by itself at once; while one
    batch is computed, the rows for the next come together.

    Args:
        predictor: is asked.
        batch_size: rows of a batch.
        most_waiting: rows that may wait; further requests are refused until fewer do.
    """

    def __init__(self, predictor: Predictor, batch_size: int, most_waiting: int) -> None:
        self._predictor, self._batch_size, self._most = predictor, batch_size, most_waiting
        self._waiting: deque[Asked] = deque()
        self._rows, self._open = 0, True
        self._changed = threading.Condition()
        self.answered = 0
        self._thread = threading.Thread(target=self._work, name="batches", daemon=True)
        self._thread.start()

    def ask(self, rows: list[tuple[str, ...]]) -> Sequence[Prediction | Answered]:
        """What the model says of rows that have been checked; waits for it.

        Raises:
            Refused: too many rows wait, or the server is about to end.
        """
        asked = Asked(rows)
        with self._changed:
            if not self._open:
                raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "this server is about to end")
            if self._rows and self._rows + len(rows) > self._most:
                raise Refused(
                    HTTPStatus.SERVICE_UNAVAILABLE, f"{self._rows:,} rows wait to be answered; ask again in a moment"
                )
            self._waiting.append(asked)
            self._rows += len(rows)
            self._changed.notify_all()
        return asked.answer.result()

    def close(self) -> None:
        """Answers what waits, and ends."""
        with self._changed:
            self._open = False
            self._changed.notify_all()
        self._thread.join()

    def _next(self) -> list[Asked]:
        """Requests whose rows fill a batch, or as many as wait; empty at the end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or not self._open)
            taken: list[Asked] = []
            count = 0
            while self._waiting and (not taken or count + len(self._waiting[0].rows) <= self._batch_size):
                taken.append(self._waiting.popleft())
                count += len(taken[-1].rows)
            self._rows -= count
            return taken

    def _work(self) -> None:
        while taken := self._next():
            rows = [row for asked in taken for row in asked.rows]
            try:
                found = self._predictor.predict(rows, self._batch_size)
            except BaseException as error:
                # Whatever went wrong is told where it is waited for; the next batch may go well.
                for asked in taken:
                    asked.answer.set_exception(error)
                continue
            self.answered += len(rows)
            start = 0
            for asked in taken:
                asked.answer.set_result(found[start : start + len(asked.rows)])
                start += len(asked.rows)


class Server(ThreadingHTTPServer):
    """Listens; every connection has a thread of its own, which reads, checks and writes.

    Args:
        options: name the model and the address.

    Raises:
        InputError: no model that can be served, or an address that cannot be listened on.
    """

    daemon_threads = True
    request_queue_size = 128
    # Another server that listens here already is told, on systems that would let both.
    allow_reuse_port = False

    def __init__(self, options: ServeOptions) -> None:
        self.options = options
        self.predictor = Predictor(
            options.model_dir,
            options.threads or None,
            options.device,
            options.n_best_size,
            options.runtime,
            options.precision,
        )
        check_n_best(options.n_best_size, self.predictor, options.model_dir)
        try:
            family, _, _, _, address = socket.getaddrinfo(
                options.host or None, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            )[0]
        except (OSError, UnicodeError) as error:
            raise InputError(f"--host {options.host}: no such address ({error})") from error
        self.address_family = family
        self.host = str(address[0])
        self._places = threading.BoundedSemaphore(CONNECTIONS)
        self._answering, self._answered = 0, threading.Condition()
        try:
            super().__init__(address, Handler)  # type: ignore[arg-type]
        except OSError as error:
            where, reason = f"--host {options.host} --port {options.port}", (error.strerror or str(error)).lower()
            raise InputError(f"{where}: cannot be listened on ({reason})") from error
        self.batcher = Batcher(self.predictor, options.batch_size, options.max_waiting)

    @property
    def url(self) -> str:
        """Where it answers."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.server_address[1]}"

    @property
    def most_bytes(self) -> int:
        """Of a request."""
        return max(FEWEST_BYTES, BYTES_PER_ROW * self.options.max_rows)

    def server_bind(self) -> None:
        # http.server asks here what the machine is called, which can take seconds where no name server answers.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = self.host, self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        # More connections wait, where the system keeps them, until one ends.
        self._places.acquire()
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._places.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that has gone is no error of ours."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """While a request is answered, which the end of the server waits for."""
        with self._answered:
            self._answering += 1
        try:
            yield
        finally:
            with self._answered:
                self._answering -= 1
                self._answered.notify_all()

    def end(self) -> None:
        """Takes no further connections, and answers what has been asked."""
        self.server_close()
        self.batcher.close()
        with self._answered:
            self._answered.wait_for(lambda: not self._answering, PATIENCE)

    def about(self) -> dict[str, Any]:
        """What is served."""
        predictor = self.predictor
        return {
            "task": predictor.task.name,
            "text_columns": predictor.text_columns,
            "labels": predictor.labels,
            "max_seq_length": predictor.encoder.max_seq_length,
            "form": predictor.form,
            "precision": predictor.precision,
            "max_rows": self.options.max_rows,
        }

    def predict(self, body: bytes) -> list[dict[str, Any]]:
        """Answers to the rows of a request, in their order.

        Raises:
            Refused: the request cannot be read, or a row of it.
        """
        rows, others = rows_of(body, self.predictor.text_columns, self.options.max_rows)
        found = self.batcher.ask(rows) if rows else []
        columns = self.predictor.text_columns
        return [one.as_dict(columns, beside) for one, beside in zip(found, others, strict=True)]


def rows_of(body: bytes, columns: Sequence[str], most: int) -> tuple[list[tuple[str, ...]], list[dict[str, Any]]]:
    """The rows of a request, checked, and what else it tells of each.

    Args:
        body: JSON: a list of rows, or an object whose ``rows`` are that list. A row is a text, a list of as many texts
            as the model reads, or an object with a text for each of its columns.
        columns: the model's.
        most: rows that a request may hold.

    Raises:
        Refused: what is wrong, and in which row.
    """
    try:
        given = json.loads(body.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"expected UTF-8, found byte 0x{body[error.start]:02x}") from error
    except (ValueError, RecursionError) as error:
        raise Refused(HTTPStatus.BAD_REQUEST, f"expected JSON ({error})") from error
    listed = given.get("rows") if isinstance(given, dict) else given
    if not isinstance(listed, list):
        found = json.dumps(given)
        found = found if len(found) < 60 else f"{found[:60]}…"
        raise Refused(HTTPStatus.BAD_REQUEST, f'expected a list of rows, or {{"rows": [...]}}, found {found}')
    if len(listed) > most:
        raise Refused(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {most:,} rows a request, found {len(listed):,}"
        )
    rows, others = [], []
    for number, row in enumerate(listed, 1):
        try:
            texts, beside = _row(row, columns)
            rows.append(tuple(checked_text(text, column) for column, text in zip(columns, texts, strict=True)))
        except BadRow as fault:
            raise Refused(HTTPStatus.BAD_REQUEST, f"row {number}: {fault}") from None
        others.append(beside)
    return rows, others


def _row(row: Any, columns: Sequence[str]) -> tuple[list[Any], dict[str, Any]]:
    if isinstance(row, dict):
        if missing := [name for name in columns if name not in row]:
            raise BadRow(f"has no {missing[0]!r}; expected {', '.join(map(repr, columns))}, found {sorted(row)}"[:300])
        return [row[name] for name in columns], {name: value for name, value in row.items() if name not in columns}
    texts = row if isinstance(row, list) else [row]
    if len(texts) != len(columns):
        raise BadRow(f"expected {len(columns)} text(s), {', '.join(columns)}; found {len(texts)}")
    return texts, {}


class Handler(BaseHTTPRequestHandler):
    """Reads requests of one connection, one after the other, and writes the answers."""

    server: Server
    protocol_version = "HTTP/1.1"
    timeout = PATIENCE
    # An answer leaves at once, in one piece.
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """``/health``, and what is served under ``/``."""
        if self._place == "/health":
            self._answer(HTTPStatus.OK, {"status": "ok"})
        elif self._place == "/":
            self._answer(HTTPStatus.OK, self.server.about())
        else:
            self._refuse(self._elsewhere())

    def do_HEAD(self) -> None:
        """The same without what it says, as balancers of load ask."""
        self.do_GET()

    def do_POST(self) -> None:
        """``/predict``."""
        try:
            body = self._body()
            if self._place != "/predict":
                raise self._elsewhere()
            with self.server.answering():
                self._answer(HTTPStatus.OK, {"predictions": self.server.predict(body)})
        except Refused as refused:
            self._refuse(refused)
        except InputError as error:
            # Of the model, not of the request.
            self._refuse(Refused(HTTPStatus.INTERNAL_SERVER_ERROR, str(error)))
        except OSError:
            raise
        except Exception:
            self._refuse(Refused(HTTPStatus.INTERNAL_SERVER_ERROR, "this failed; what the server prints says why"))
            raise

    def version_string(self) -> str:
        """Nothing about versions is told to whoever asks."""
        return "PaddleDistill"

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What :mod:`http.server` itself refuses, in the form of all answers; such a connection ends."""
        self.close_connection = True
        # Of a first line that it cannot read, it believes that a client of 1991 sent it, who knows no header.
        self.request_version = self.protocol_version
        status = HTTPStatus(code)
        self._refuse(Refused(status, message or status.phrase))

    @property
    def _place(self) -> str:
        return self.path.split("?")[0]

    def _elsewhere(self) -> Refused:
        there = {"/predict": "POST", "/health": "GET", "/": "GET"}
        if method := there.get(self._place):
            return Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{self._place} takes {method}")
        known = ", ".join(f"{method} {path}" for path, method in there.items())
        return Refused(HTTPStatus.NOT_FOUND, f"nothing here; expected one of {known}")

    def _body(self) -> bytes:
        """What follows the header.

        Raises:
            Refused: its length is not told, or is too much; the connection ends then.
        """
        self.close_connection, stays = True, self.close_connection
        given = self.headers.get_all("Content-Length") or []
        if len(set(given)) != 1 or "Transfer-Encoding" in self.headers:
            raise Refused(HTTPStatus.LENGTH_REQUIRED, "expected a Content-Length, and no Transfer-Encoding")
        if not (given[0].isascii() and given[0].isdigit()):
            raise Refused(HTTPStatus.BAD_REQUEST, "expected bytes in Content-Length")
        if len(given[0]) > 18 or int(given[0]) > self.server.most_bytes:
            self._pass_over(given[0])
            raise Refused(
                HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"expected at most {self.server.most_bytes:,} bytes a request"
            )
        body = self.rfile.read(int(given[0]))
        if len(body) < int(given[0]):
            raise ConnectionAbortedError("the client left in the middle of its request")
        self.close_connection = stays
        return body

    def _pass_over(self, length: str) -> None:
        """Reads what is refused, unless it is endless: who still sends when the connection ends never reads why."""
        if len(length) > 18 or int(length) > self.server.most_bytes * PASSED_OVER:
            return
        left, until = int(length), time.monotonic() + PATIENCE
        with contextlib.suppress(TimeoutError):
            while left > 0 and time.monotonic() < until and (part := self.rfile.read1(min(left, FEWEST_BYTES))):
                left -= len(part)

    def _refuse(self, refused: Refused) -> None:
        self._answer(refused.status, {"error": str(refused)})

    def _answer(self, status: HTTPStatus, value: Any) -> None:
        body = (json_line(value) + "\n").encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        # Browsers are not to guess at what it is.
        self.send_header("X-Content-Type-Options", "nosniff")
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            self.send_header("Retry-After", "1")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged: they would be as many lines as texts."""


def serve(options: ServeOptions) -> int:
    """Answers until Ctrl-C or SIGTERM, then what waits; returns the number of rows.

    Raises:
        InputError: the model, or the address.
    """
    server = Server(options)
    say(f"{options.model_dir} ({server.predictor.form}, {server.predictor.precision}) answers at {server.url}/predict")
    if not ip_address(server.host).is_loopback:
        say("note: whoever reaches this machine may ask; there is neither a password nor encryption")
    try:
        server.serve_forever(poll_interval=0.1)
    except KeyboardInterrupt:
        # How a server ends.
        pass
    finally:
        server.end()
    say(f"{server.batcher.answered:,} rows answered")
    return server.batcher.answered
