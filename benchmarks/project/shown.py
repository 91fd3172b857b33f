"""A pipeline project from its first command to a clone that verifies it, with what came and when.

    python benchmarks/project/shown.py                                  a new project, as it is
    python benchmarks/project/shown.py --small                          with almost nothing to do
    python benchmarks/project/shown.py --out docs/project-shown.md --keep FOLDER

Real git, real DVC, a real S3 server (nanio, which checks signatures) on this machine. Every step
that does not come out as it should ends the run with what was said.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from teststrip.project.init import init
from teststrip.project.layout import STAGES
from teststrip.testing.commands import DVC, Answer, Commands
from teststrip.testing.s3_server import S3Server
from teststrip.testing.small_project import change, small_project


@dataclass
class Shown:
    """What ran. `load`: processes that wanted a processor when the step began."""

    steps: list[tuple[str, float, float, str]] = field(default_factory=list)

    def did(self, here: Commands, *command: str, fails: bool = False) -> Answer:
        """Run a command; it must work, or fail where that is shown."""
        load, started = os.getloadavg()[0], time.monotonic()
        answer = here.run(*command)
        seconds = time.monotonic() - started
        shown = " ".join(command)
        for long, short in ((DVC, "dvc"), (TESTSTRIP, "teststrip")):
            shown = shown.replace(" ".join(long), short)
        if (answer.code != 0) is not fails:
            sys.exit(f"{shown}: exit code {answer.code}\n{answer.said[-4000:]}")
        self.steps.append((shown, seconds, load, ""))
        print(f"{seconds:8.1f} s  {shown}", flush=True)
        return answer

    def saw(self, what: str, *, is_so: bool = True) -> None:
        """What the last step showed; ends the run where it is not so."""
        if not is_so:
            sys.exit(f"not so after {self.steps[-1][0]!r}: {what}")
        command, seconds, load, before = self.steps[-1]
        self.steps[-1] = (command, seconds, load, f"{before}; {what}" if before else what)
        print(f"{'':12}{what}", flush=True)


TESTSTRIP = (sys.executable, "-m", "teststrip")


def show(folder: Path, kind: str, *, is_small: bool) -> Shown:
    """The whole of it below `folder`."""
    shown = Shown()
    names = [stage.name for stage in STAGES[kind]]
    with S3Server(folder / "s3") as s3:
        root = folder / "subject"
        remote, make = f"s3://{s3.bucket}", small_project if is_small else init
        make(root, kind=kind, ci="gitlab", model="builtin", remote=remote, endpoint=s3.address)
        here = Commands(root, settings=s3.env)
        if not is_small:  # as many threads as a user would have
            del here.env["OMP_NUM_THREADS"], here.env["OMP_WAIT_POLICY"]
        here.begin()
        shown.did(here, *TESTSTRIP, "project", "doctor")
        shown.saw("git, DVC, parameters, pipeline, pictures, remote and its log-in are well")

        said = shown.did(here, *DVC, "repro").said
        shown.saw(f"ran {', '.join(_ran(said))}", is_so=_ran(said) == names)
        shown.saw(_said(said, names))
        here.commit("First results")
        said = shown.did(here, *DVC, "repro").said
        shown.saw("nothing ran", is_so=not _ran(said))

        change(root, "infer.infer_seed=100")
        said = shown.did(here, *DVC, "repro").said
        after = names[names.index("infer") :]
        shown.saw(f"after infer.infer_seed=100 ran {', '.join(after)}", is_so=_ran(said) == after)
        here.commit("Other seeds")
        told = shown.did(here, *TESTSTRIP, "project", "report", "--base", "HEAD~1", "--out", "../r")
        shown.saw(_first(told.out))
        files = sorted(path.name for path in (folder / "r").rglob("*") if path.is_file())
        shown.saw(f"wrote {len(files)} files", is_so="index.html" in files)
        shown.did(here, *DVC, "metrics", "diff", "HEAD~1")
        shown.did(here, *DVC, "plots", "diff", "HEAD~1", "--out", "../plots")
        pictures = list((folder / "plots").rglob("*.png"))
        shown.saw(f"{len(pictures)} pictures beside each other", is_so=bool(pictures))

        wrong = here.at(root)
        wrong.env["AWS_SECRET_ACCESS_KEY"] = "wrong"
        shown.did(wrong, *DVC, "push", fails=True)
        shown.saw("with a wrong secret: refused", is_so=s3.keys() == [])
        shown.did(here, *DVC, "push")
        shown.saw(f"{len(s3.keys())} objects on the S3 server")

        clone = Commands(folder / "clone", home=folder / "other-home", settings=s3.env)
        clone.env = here.env | {"HOME": clone.env["HOME"]}
        here.git("clone", "--quiet", str(root), str(clone.folder))
        shown.did(clone, *DVC, "pull")
        said = shown.did(clone, *DVC, "repro").said
        shown.saw("in a clone, after dvc pull: nothing ran", is_so=not _ran(said))
        shown.saw("git sees no change", is_so=not clone.git("status", "--porcelain"))
        told = shown.did(clone, *TESTSTRIP, "project", "verify", "--quiet")
        for line in told.out.splitlines():
            shown.saw(line.strip())
    return shown


def _ran(said: str) -> list[str]:
    marks = (line for line in said.splitlines() if line.startswith("Running stage '"))
    return [line.split("'")[1] for line in marks]


def _said(said: str, names: Sequence[str]) -> str:
    """What the stages said of themselves."""
    lines = [line.strip() for line in said.splitlines()]
    return " / ".join(line for line in lines if line.split(":")[0] in names)


def _first(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def page(shown: Shown, kind: str, *, is_small: bool) -> str:
    """The Markdown page."""
    what = (
        "A small one, with almost nothing to do (`teststrip.testing.small_project`): it shows the "
        "mechanics, its scores mean nothing."
        if is_small
        else "As `teststrip project init` makes it, with the built-in model."
    )
    flag = " --small" if is_small else ""
    packages = ", ".join(f"{name} {version(name)}" for name in ("dvc", "dvc-s3", "torch"))
    rows = [
        f"| `{command}` | {seconds:.1f} | {load:.1f} | {_cell(saw)} |"
        for command, seconds, load, saw in shown.steps
    ]
    return "\n".join(
        (
            "# A pipeline project, shown",
            "",
            f"Kind {kind}. {what} Every line ran, in this order, with a real git, DVC and S3 "
            f"server; `python benchmarks/project/shown.py{flag}` does it again.",
            "",
            f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} {platform.machine()} cores, no GPU, "
            f"{packages}. Load: processes that wanted a core when the step began; times of a busy "
            "machine are too long.",
            "",
            "| command | seconds | load | what came |",
            "|---|---:|---:|---|",
            *rows,
            "",
        )
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


def main(arguments: Sequence[str] | None = None) -> None:
    """Read the flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kind", choices=sorted(STAGES), default="dreambooth")
    parser.add_argument("--small", action="store_true", help="almost nothing to do")
    parser.add_argument("--out", type=Path, help="write the page there")
    parser.add_argument("--keep", type=Path, help="a new folder to do it in, which stays")
    asked = parser.parse_args(arguments)
    if asked.keep:
        asked.keep.mkdir(parents=True)
    place = nullcontext(asked.keep) if asked.keep else tempfile.TemporaryDirectory()
    with place as folder:
        shown = show(Path(folder).resolve(), asked.kind, is_small=asked.small)
    text = page(shown, asked.kind, is_small=asked.small)
    if asked.out:
        asked.out.write_text(text, encoding="utf-8")
    print(json.dumps({"steps": len(shown.steps), "seconds": sum(s[1] for s in shown.steps)}))


if __name__ == "__main__":
    main()
