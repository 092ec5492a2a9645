"""A recorder of the Hub's commit API: it answers what an upload asks, keeps what was sent, and puts it into a git repository for olah.

Calls: /api/whoami-v2, /api/repos/create, /api/{models,datasets,spaces}/<id>[/revision/<rev>],
/api/collections, /api/validate-yaml, .../preupload/<rev>, .../commit/<rev>
(NDJSON), large files by /<id>.git/info/lfs/objects/batch, and HEAD /<id>/resolve/<rev>/<file>.
"""

import base64
import json
import re
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from tests.hub_server import LARGE, Loopback, commit

TOKEN = "hf_" + "t" * 34
OWNER = "me"


@dataclass
class Repository:
    """What the recorder knows of one.

    Attributes:
        private: whether it is.
        files: their contents, of the last commit.
        commits: the header, the names of files sent and those deleted, of each.
    """

    private: bool = False
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[dict[str, Any]] = field(default_factory=list)


class Recorder(Loopback):
    """The server.

    Attributes:
        repositories: by id.
        calls: method and path of all requests.
        fail: parts of paths to the status that is answered instead.
        complaints: about the head of a card.
        collection: the last one that was made, with its items.
    """

    def __init__(self) -> None:
        self.repositories: dict[str, Repository] = {}
        self.calls: list[str] = []
        self.fail: dict[str, int] = {}
        self.complaints: list[str] = []
        self.collection: dict[str, Any] = {}
        self._uploaded: dict[str, bytes] = {}
        super().__init__()

    def into_git(self, root: Path) -> None:
        """Files of all repositories to root/models/<id>, as olah serves them."""
        for repo_id, repository in self.repositories.items():
            commit(root, repo_id, repository.files)

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        path = handler.path.split("?")[0]
        body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self.calls.append(f"{handler.command} {path}")
        failed = next((status for part, status in self.fail.items() if part in path), None)
        if failed is not None:
            status, given = failed, {"error": "as told"}
        elif (
            not path.startswith(("/upload/", "/api/validate-yaml"))
            and handler.headers.get("Authorization") != f"Bearer {TOKEN}"
        ):
            status, given = 401, {"error": "Invalid credentials in Authorization header"}
        else:
            status, given = self._answer(path, body)
        content = json.dumps(given).encode()
        handler.send_response(status)
        if status == 401:
            handler.send_header("X-Error-Message", "Invalid credentials in Authorization header")
        if status == 404:
            handler.send_header("X-Error-Code", "EntryNotFound")
        if handler.command == "HEAD":
            handler.send_header("X-Repo-Commit", "0" * 40)
            handler.send_header("ETag", "0" * 40)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        if handler.command != "HEAD":
            handler.wfile.write(content)

    def _answer(self, path: str, body: bytes) -> tuple[int, Any]:  # noqa: PLR0911
        match path.strip("/").split("/"):
            case ["api", "whoami-v2"]:
                return 200, {"name": OWNER, "type": "user", "orgs": []}
            case ["api", "repos", "create"]:
                return self._create(json.loads(body))
            case ["api", "validate-yaml"]:
                said = [{"message": message} for message in self.complaints]
                return (400 if said else 200), {"errors": said, "warnings": []}
            case ["api", "models" | "datasets" | "spaces", owner, name, "preupload", _]:
                files = json.loads(body)["files"]
                modes = [
                    {"path": f["path"], "uploadMode": "lfs" if f["path"].endswith(LARGE) else "regular"}
                    for f in files
                ]
                return 200, {"files": [mode | {"shouldIgnore": False, "oid": None} for mode in modes]}
            case ["api", "models" | "datasets" | "spaces", owner, name, "commit", branch]:
                return self._commit(f"{owner}/{name}", branch, body)
            case ["api", "models" | "datasets" | "spaces", owner, name, "tree", _]:
                files = self.repositories[f"{owner}/{name}"].files
                return 200, [
                    {"type": "file", "path": f, "size": len(c), "oid": "0" * 40} for f, c in files.items()
                ]
            case ["api", "models" | "datasets" | "spaces", owner, name, *_] if (
                f"{owner}/{name}" in self.repositories
            ):
                return 200, self._info(f"{owner}/{name}")
            case ["api", "collections"]:
                self.collection = json.loads(body) | {"slug": f"{OWNER}/c-1", "items": []}
                return 200, self._collection()
            case ["api", "collections", _, _, "items"]:
                self.collection["items"].append(json.loads(body)["item"])
                return 200, self._collection()
            case [owner, name, "info", "lfs", "objects", "batch"]:
                objects = [self._where_to(o) for o in json.loads(body)["objects"]]
                return 200, {"transfer": "basic", "objects": objects}
            case ["upload", oid]:
                self._uploaded[oid] = body
                return 200, {}
            case [owner, name, "resolve", _, file]:
                there = file in self.repositories[f"{owner}/{name}"].files
                return (200 if there else 404), {}
        return 404, {"error": path}

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        repo_id = f"{asked.get('organization') or OWNER}/{asked['name']}"
        if repo_id in self.repositories:
            return 409, {"error": "You already created this model repo", "url": f"{self.url}/{repo_id}"}
        self.repositories[repo_id] = Repository(
            "private" in (asked.get("visibility"), asked.get("private") and "private")
        )
        return 200, {"url": f"{self.url}/{repo_id}", "name": repo_id}

    def _info(self, repo_id: str) -> dict[str, Any]:
        repository = self.repositories[repo_id]
        siblings = [{"rfilename": name} for name in repository.files]
        return {
            "id": repo_id,
            "private": repository.private,
            "sha": "0" * 40,
            "siblings": siblings,
            "tags": [],
        }

    def _collection(self) -> dict[str, Any]:
        made = {"owner": {"name": OWNER, "type": "user"}, "lastUpdated": "2026-01-01T00:00:00.000Z"}
        return self.collection | made | {"items": [], "position": 0, "theme": "blue", "upvotes": 0}

    def _where_to(self, wanted: dict[str, Any]) -> dict[str, Any]:
        oid = wanted["oid"]
        actions = {"upload": {"href": f"{self.url}/upload/{oid}", "header": {}}}
        return {"oid": oid, "size": wanted["size"], "authenticated": True, "actions": actions}

    def _commit(self, repo_id: str, branch: str, body: bytes) -> tuple[int, Any]:
        repository = self.repositories[repo_id]
        note: dict[str, Any] = {"branch": branch, "sent": [], "deleted": []}
        for line in body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            match entry["key"]:
                case "header":
                    note["summary"] = value["summary"]
                case "file":
                    note["sent"].append(value["path"])
                    repository.files[value["path"]] = base64.b64decode(value["content"])
                case "lfsFile":
                    note["sent"].append(value["path"])
                    repository.files[value["path"]] = self._uploaded[value["oid"]]
                case "deletedFile":
                    note["deleted"].append(value["path"])
                    del repository.files[value["path"]]
        assert all(re.fullmatch(r"[\w.-]+", name) for name in repository.files)
        repository.commits.append(note)
        oid = f"{len(repository.commits):040x}"
        url = f"{self.url}/{repo_id}/commit/{oid}"
        return 200, {"success": True, "commitOid": oid, "commitUrl": url, "hookOutput": ""}
