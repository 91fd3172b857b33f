import subprocess
import sys
from pathlib import Path

import pytest

from teststrip.errors import StorageError
from teststrip.files import write_atomic


def test_the_whole_content_arrives_and_nothing_else_stays(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "er" / "picture.png"

    write_atomic(file, b"one")
    write_atomic(file, b"two")

    assert file.read_bytes() == b"two"
    assert [entry.name for entry in file.parent.iterdir()] == ["picture.png"]
    assert file.stat().st_mode & 0o777 == 0o644


def test_a_refused_folder_says_what_to_do() -> None:
    """The kernel refuses new files in /proc to everyone, root too."""
    with pytest.raises(StorageError) as caught:
        write_atomic(Path("/proc/teststrip-refused"), b"x")

    assert "/proc/teststrip-refused" in str(caught.value)
    assert isinstance(caught.value, OSError)


def test_a_folder_without_the_right_to_write_names_another(tmp_path: Path) -> None:
    """Root may write anywhere, so the process gives root up first."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    code = (
        "import os, sys; from pathlib import Path\n"
        "from teststrip.errors import StorageError; from teststrip.files import write_atomic\n"
        "os.getuid() or os.setuid(65534)\n"
        "try:\n    write_atomic(Path(sys.argv[1]), b'x')\n"
        "except StorageError as exc:\n    print(exc)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / "x")], capture_output=True, text=True, check=True
    )

    assert "closed/x: may not be written to; choose another folder (TESTSTRIP_HOME" in done.stdout
    assert list(folder.iterdir()) == []


def test_a_file_where_a_folder_should_be_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(StorageError, match="cannot be written"):
        write_atomic(tmp_path / "file" / "picture.png", b"x")


def test_a_write_that_breaks_off_keeps_the_old_file_and_leaves_no_part(tmp_path: Path) -> None:
    """A real refusal by the kernel: the process may write files of 4 kB only."""
    file = tmp_path / "table"
    write_atomic(file, b"old")
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from teststrip.errors import StorageError; from teststrip.files import write_atomic\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try:\n    write_atomic(Path(sys.argv[1]), b'new' * 10_000)\n"
        "except StorageError as exc:\n    print(exc)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=True
    )

    assert f"{file}: cannot be written" in done.stdout
    assert file.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["table"]


def test_a_full_disk_says_so() -> None:
    """/dev/full answers every write as a full disk does; the message is made from its error."""
    from teststrip.files import storage_error

    with (
        pytest.raises(OSError, match="No space") as caught,
        Path("/dev/full").open("wb", 0) as full,
    ):
        full.write(b"x")

    error = storage_error(Path("out.png"), caught.value)
    assert str(error) == "out.png: the disk is full; free some space and resume"
