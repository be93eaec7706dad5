"""A server on loopback that speaks as much of W&B's protocol as the client of wandb 0.31 reads, and keeps what it gets.

A query that it does not know is an error and noted in `unknown`, so that a client that asks for more fails a test. To
processes that are given its `environment` it is the proxy too: requests to other hosts are refused, and in `elsewhere`.
"""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tests.wandb_run import Run

ENTITY = "me"


class Server(ThreadingHTTPServer):
    """`fails`: it answers 500. `is_empty`: it answers `{"data": null}`. `delay`: it is slow."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.runs: dict[str, Run] = {}
        self.views: dict[str, dict[str, Any]] = {}
        self.artifacts: dict[str, dict[str, Any]] = {}
        self.unknown: list[str] = []
        self.elsewhere: list[str] = []
        self.asked: list[str] = []
        self.fails = False
        self.is_empty = False
        self.num_requests = 0
        self.delay = 0.0
        self.lock = threading.Lock()

    @property
    def astray(self) -> list[str]:
        """Other hosts that were asked, but for ONNX Runtime's: other tests load it, and it reports to its makers."""
        return [host for host in self.elsewhere if not host.endswith(".microsoft.com:443")]

    def environment(self, folder: Path) -> dict[str, str]:
        """The variables with which wandb speaks to this server alone, and writes below `folder`."""
        places = {f"WANDB_{kind}_DIR": str(folder / "wandb" / kind) for kind in ("DATA", "CACHE", "CONFIG")}
        proxies = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), self.url)
        here = dict.fromkeys(("NO_PROXY", "no_proxy"), "127.0.0.1")
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": "0" * 40, **places, **proxies, **here}

    # One method a query, named as the client names it.

    def Viewer(self, v: dict) -> dict:
        user = {"id": "V", "flags": "{}", "entity": ENTITY, "username": ENTITY, "email": "me@localhost", "admin": False}
        return {"viewer": user | {"teams": {"edges": []}, "apiKeys": {"edges": []}}}

    GetDefaultEntity = Viewer

    def ServerFeaturesQuery(self, v: dict) -> dict:
        return {"serverInfo": {"features": []}}

    def OrganizationCoreWeaveOrganizationID(self, v: dict) -> dict:
        return {"entity": None}

    def RunResumeStatus(self, v: dict) -> dict:
        run = self.runs.get(v["name"])
        if run is None:
            return {"model": None}
        lines = [json.dumps(step) for step in run.steps]
        return {
            "model": {
                "id": "P",
                "name": run.project,
                "entity": {"id": "E", "name": ENTITY},
                "bucket": {
                    **{"id": run.name, "name": run.name, "summaryMetrics": json.dumps(run.summary)},
                    **{"displayName": run.told.get("displayName"), "logLineCount": 0, "historyLineCount": len(lines)},
                    **{"eventsLineCount": 0, "historyTail": json.dumps(lines[-1:]), "eventsTail": "[]"},
                    **{"config": json.dumps(run.config), "tags": run.told.get("tags", []), "wandbConfig": '{"t": 1}'},
                },
            }
        }

    def UpsertBucket(self, v: dict) -> dict:
        run = self.runs.setdefault(v["name"], Run(v["name"], v["project"], v["entity"]))
        run.times_opened += v["entity"] is None or not run.told
        run.told |= {key: value for key, value in v.items() if value is not None}
        run.config = json.loads(v["config"]) if v["config"] else run.config
        bucket = {"id": run.name, "name": run.name, "displayName": v["displayName"], "description": None}
        bucket |= {"config": json.dumps(run.config), "sweepName": None, "historyLineCount": len(run.steps)}
        project = {"id": "P", "name": run.project, "entity": {"id": "E", "name": ENTITY}}
        return {"upsertBucket": {"bucket": {**bucket, "project": project}, "inserted": not run.steps}}

    def CreateRunFiles(self, v: dict) -> dict:
        files = [{"name": f, "uploadUrl": f"{self.url}/upload/{v['run']}/{f}"} for f in v["files"]]
        return {"createRunFiles": {"runID": v["run"], "uploadHeaders": [], "files": files}}

    def Runs(self, v: dict) -> dict:
        wanted = json.loads(v["filters"])["name"]["$in"]
        project = [run for run in self.runs.values() if run.project == v["project"]]
        if not project:
            return {"project": None}
        nodes = [self._node(run) for run in project if run.name in wanted]
        page = {"endCursor": None, "hasNextPage": False}
        edges = [{"node": node, "cursor": node["id"]} for node in nodes]
        runs = {"edges": edges, "pageInfo": page}
        return {"project": {"internalId": "1", "runCount": len(nodes), "readOnly": False, "runs": runs}}

    def _node(self, run: Run) -> dict:
        known = {"id": run.name, "name": run.name, "displayName": run.told.get("displayName")}
        known |= {"tags": run.told.get("tags", []), "jobType": run.told.get("jobType")}
        known |= {"state": "running" if run.exit_code is None else "failed" if run.exit_code else "finished"}
        known |= {"config": json.dumps(run.config), "summaryMetrics": json.dumps(run.summary), "projectId": "1"}
        empty = ["sweepName", "commit", "createdAt", "heartbeatAt", "description", "notes"]
        known |= {"systemMetrics": "{}", "user": {"name": ENTITY, "username": ENTITY}}
        known |= {"group": run.told.get("groupName"), "historyLineCount": len(run.steps)}
        return known | {"readOnly": False, "historyKeys": None} | dict.fromkeys(empty)

    def ArtifactType(self, v: dict) -> dict:
        return {"project": {"artifact": None}}

    def CreateArtifact(self, v: dict) -> dict:
        name = v["input"]["artifactCollectionName"]
        self.artifacts[name] = {"type": v["input"]["artifactTypeName"], "run": v["input"]["runName"], "files": {}}
        sequence = {"id": "S", "latestArtifact": None}
        return {"createArtifact": {"artifact": {"id": name, "state": "PENDING", "artifactSequence": sequence}}}

    def CreateArtifactManifest(self, v: dict) -> dict:
        place = f"{self.url}/manifest/{v['artifactID']}"
        file = {"id": "F", "name": v["name"], "displayName": v["name"], "uploadUrl": place, "uploadHeaders": []}
        return {"createArtifactManifest": {"artifactManifest": {"id": "M", "file": file}}}

    def CreateArtifactFiles(self, v: dict) -> dict:
        files = [
            {
                **{"id": "F", "name": f["name"], "displayName": f["name"], "uploadHeaders": []},
                **{"uploadUrl": f"{self.url}/artifact/{f['artifactID']}/{f['name']}", "uploadMultipartUrls": None},
                **{"storagePath": "x", "artifact": {"id": f["artifactID"]}},
            }
            for f in v["input"]["artifactFiles"]
        ]
        return {"createArtifactFiles": {"files": {"edges": [{"node": file} for file in files]}}}

    def CommitArtifact(self, v: dict) -> dict:
        self.artifacts[v["artifactID"]]["committed"] = True
        return {"commitArtifact": {"artifact": {"id": v["artifactID"], "digest": "d"}}}

    def ProjectInternalId(self, v: dict) -> dict:
        return {"project": {"id": "P", "internalId": "1"}}

    def GetProjects(self, v: dict) -> dict:
        names = sorted({run.project for run in self.runs.values()})
        nodes = [{"id": name, "name": name, "entityName": ENTITY, "createdAt": "2026-01-01"}
                 for name in names]  # fmt: skip
        edges = [{"node": node | {"isBenchmark": False, "user": None}, "cursor": node["id"]} for node in nodes]
        return {"models": {"edges": edges, "pageInfo": {"endCursor": None, "hasNextPage": False}}}

    def upsertView(self, v: dict) -> dict:
        view = v["id"] or f"view{len(self.views)}"
        self.views[view] = v | {"spec": json.loads(v["spec"]), "times": self.views.get(view, {"times": 0})["times"] + 1}
        answer = {"id": view, "type": v["type"], "name": v["name"], "displayName": v["displayName"]}
        answer |= {"description": v["description"], "spec": v["spec"], "updatedAt": "2026-01-01T00:00:00"}
        project = {"id": "P", "name": v["projectName"], "entityName": v["entityName"]}
        return {"upsertView": {"view": answer | {"project": project}, "inserted": True}}

    # What is not GraphQL.

    def stream(self, run: Run, told: dict[str, Any]) -> None:
        """Lines of the history at their offset, the latest summary, and how the run ended."""
        files = told.get("files") or {}
        if lines := files.get("wandb-history.jsonl"):
            run.steps[lines["offset"] :] = map(json.loads, lines["content"])
        if latest := files.get("wandb-summary.json"):
            run.summary = json.loads(latest["content"][-1])
        if told.get("complete"):
            run.exit_code = told["exitcode"]


class Handler(BaseHTTPRequestHandler):
    """Hands what comes to the server's methods."""

    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""

    def handle(self) -> None:
        try:
            super().handle()
        except OSError:  # the client went away
            self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if not self.path.startswith("/"):
            return self.do_CONNECT()
        self.server.num_requests += 1
        time.sleep(self.server.delay)
        if self.server.fails:
            return self._answer({"error": "broken"}, 500)
        if self.server.is_empty and self.path.startswith("/graphql"):
            return self._answer({"data": None})
        with self.server.lock:
            self._answer(self._result(body))

    do_PUT = do_GET = do_POST

    def do_CONNECT(self) -> None:
        self.server.elsewhere.append(self.path)
        self.send_error(403)

    def _result(self, body: bytes) -> dict[str, Any]:
        server = self.server
        match unquote(self.path).strip("/").split("/", 2):
            case ["graphql"]:
                query = json.loads(body)
                found = re.search(r"(?:query|mutation)\s+(\w+)", query["query"])
                name = found[1] if found else query["query"]
                server.asked.append(name)
                if (method := getattr(server, name, None)) is None:
                    server.unknown.append(name)
                    return {"errors": [{"message": f"unknown query {name}"}]}
                try:
                    return {"data": method(query.get("variables") or {})}
                except (KeyError, TypeError) as error:  # the client asked in another way than this server knows
                    server.unknown.append(f"{name}: {error!r}")
                    return {"errors": [{"message": repr(error)}]}
            case ["files", _, rest] if rest.endswith("/file_stream"):
                server.stream(server.runs[rest.split("/")[1]], json.loads(body))
            case ["upload", run, file]:
                server.runs[run].files[file] = body
            case ["artifact", artifact, file]:
                server.artifacts[artifact]["files"][file] = body
            case ["manifest", _] | ["sdk", "otel", *_]:
                pass
            case _:
                server.unknown.append(self.path)
        return {"exitcode": None, "limits": {}}

    def _answer(self, value: dict[str, Any], code: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


@contextmanager
def serving() -> Iterator[Server]:
    """A server in a thread, for a while."""
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def heard(folder: Path, monkeypatch: Any) -> Iterator[Server]:
    """A server that wandb, in this process too, speaks to; at the end it must have understood everything, and nobody
    else been asked."""
    import wandb

    with serving() as server:
        for name, value in server.environment(folder).items():
            monkeypatch.setenv(name, value)
        wandb.teardown()  # what an earlier test set up speaks to another server
        yield server
        wandb.teardown()
        assert server.unknown == server.astray == []
