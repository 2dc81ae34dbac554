"""The measured work as a workflow of DBOS for Python, on SQLite: `dbos_peer.py PORT DATABASE` takes `POST /work` on loopback, runs the
workflow and answers with its result."""

import json
import sqlite3
import sys
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import sqlalchemy
from dbos import DBOS

port, database = int(sys.argv[1]), sys.argv[2]

# DBOS keeps SQLite's rollback journal, which syncs several files for each commit; with a write-ahead log it is faster, and no
# less durable, as each commit is synced too.
sqlite3.connect(database).execute("PRAGMA journal_mode=WAL").close()


@sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
def sync_each_commit(connection, _record):
    connection.execute("PRAGMA synchronous=FULL")


DBOS(
    config={
        "name": "moonlog-peers",
        "system_database_url": f"sqlite:///{database}",
        "application_version": "0",
        "sys_db_pool_size": 64,
        "log_level": "ERROR",
    }
)


@DBOS.step()
def give(i):
    return i


@DBOS.step()
def ask(url):
    with urllib.request.urlopen(url) as answer:
        return answer.read().decode()


@DBOS.workflow()
def work(n, url):
    for i in range(n):
        if url is None:
            give(i)
        else:
            ask(url)
    return n


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # The head and the body leave in one packet.
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            status, answer = 200, work(asked["n"], asked["url"])
        except Exception as error:
            status, answer = 500, str(error)
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


DBOS.launch()
Server(("127.0.0.1", port), Handler).serve_forever()
