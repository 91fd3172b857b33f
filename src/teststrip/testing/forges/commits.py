"""GitHub's git database (https://docs.github.com/rest/git), kept by git itself in a bare folder."""

import base64
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from teststrip.testing.forges.server import Answered, Ask

_WHO = {
    f"GIT_{role}_{what}": value
    for role in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "bot"), ("EMAIL", "bot@example.org"))
}


class Commits:
    """Blobs, trees, commits and branches of one repository."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._index = Path(tempfile.mkdtemp(dir=folder.parent)) / "index"
        self._git("init", "-q", "--bare", str(folder))

    def _git(self, *words: str, given: bytes = b"", may_fail: bool = False) -> str | None:
        done = subprocess.run(  # noqa: S603 - git on a folder of a test
            ["git", f"--git-dir={self.folder}", *words],  # noqa: S607
            input=given,
            capture_output=True,
            check=False,
            env={
                **_WHO,
                "PATH": os.environ["PATH"],
                "GIT_CONFIG_GLOBAL": os.devnull,
                "GIT_CONFIG_SYSTEM": os.devnull,
                "GIT_INDEX_FILE": str(self._index),
            },
        )
        if done.returncode and not may_fail:
            raise Answered(422, {"message": done.stderr.decode()})
        return None if done.returncode else done.stdout.decode().strip()

    def file(self, commit: str, path: str) -> bytes | None:
        """A file of a commit; None where it has none."""
        words = ["git", f"--git-dir={self.folder}", "show", f"{commit}:{path}"]
        done = subprocess.run(words, capture_output=True, check=False)  # noqa: S603
        return None if done.returncode else done.stdout

    def head(self, branch: str) -> str | None:
        """A branch's commit."""
        return self._git("rev-parse", "-q", "--verify", f"refs/heads/{branch}", may_fail=True)

    def names(self, branch: str) -> list[str]:
        """The files of a branch."""
        return (self._git("ls-tree", "-r", "--name-only", branch) or "").splitlines()

    def get_ref(self, ask: Ask) -> Any:
        """`GET /git/ref/heads/NAME`."""
        sha = self.head(ask.found[2])
        if sha is None:
            raise Answered(404, {"message": "Not Found"})
        return {"ref": f"refs/heads/{ask.found[2]}", "object": {"sha": sha, "type": "commit"}}

    def get_commit(self, ask: Ask) -> Any:
        """`GET /git/commits/SHA`."""
        return {
            "sha": ask.found[2],
            "tree": {"sha": self._git("rev-parse", f"{ask.found[2]}^{{tree}}")},
        }

    def get_tree(self, ask: Ask) -> Any:
        """`GET /git/trees/SHA?recursive=1`."""
        more = ["-r", "-t"] if "recursive" in ask.query else []
        entries = []
        for line in (self._git("ls-tree", *more, ask.found[2]) or "").splitlines():
            facts, _, path = line.partition("\t")
            mode, kind, sha = facts.split()
            entries.append({"path": path, "mode": mode, "type": kind, "sha": sha})
        return {"sha": ask.found[2], "tree": entries, "truncated": False}

    def make_blob(self, ask: Ask) -> Any:
        """`POST /git/blobs`."""
        data = ask.data()
        is_plain = data.get("encoding", "utf-8") == "utf-8"
        content = data["content"].encode() if is_plain else base64.b64decode(data["content"])
        raise Answered(201, {"sha": self._git("hash-object", "-w", "--stdin", given=content)})

    def make_tree(self, ask: Ask) -> Any:
        """`POST /git/trees`; an entry whose sha is null goes away."""
        data = ask.data()
        self._index.unlink(missing_ok=True)
        if data.get("base_tree"):
            self._git("read-tree", data["base_tree"])
        lines = []
        for entry in data["tree"]:
            sha = entry["sha"]
            is_there = self._git("ls-files", "--", entry["path"])
            if sha is None and not is_there:
                raise Answered(422, {"message": "GitRPC::BadObjectState"})
            lines.append(f"{entry['mode'] if sha else '0'} {sha or '0' * 40}\t{entry['path']}\n")
        self._git("update-index", "--index-info", given="".join(lines).encode())
        raise Answered(201, {"sha": self._git("write-tree")})

    def make_commit(self, ask: Ask) -> Any:
        """`POST /git/commits`."""
        data = ask.data()
        parents = [word for parent in data.get("parents", []) for word in ("-p", parent)]
        sha = self._git("commit-tree", data["tree"], *parents, "-m", data["message"])
        raise Answered(201, {"sha": sha, "tree": {"sha": data["tree"]}})

    def make_ref(self, ask: Ask) -> Any:
        """`POST /git/refs`."""
        data = ask.data()
        if self.head(data["ref"].removeprefix("refs/heads/")):
            raise Answered(422, {"message": "Reference already exists"})
        self._git("update-ref", data["ref"], data["sha"])
        raise Answered(201, {"ref": data["ref"], "object": {"sha": data["sha"], "type": "commit"}})

    def move_ref(self, ask: Ask) -> Any:
        """`PATCH /git/refs/heads/NAME`: only forward, unless forced."""
        data, head = ask.data(), self.head(ask.found[2])
        if head is None:
            raise Answered(422, {"message": "Reference does not exist"})
        is_on = self._git("merge-base", "--is-ancestor", head, data["sha"], may_fail=True)
        if is_on is None and not data.get("force"):
            raise Answered(422, {"message": "Update is not a fast forward"})
        self._git("update-ref", f"refs/heads/{ask.found[2]}", data["sha"])
        return {"object": {"sha": data["sha"]}}
