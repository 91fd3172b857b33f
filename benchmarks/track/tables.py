"""The page of numbers: each benchmark writes its own part and leaves the others."""

import re
from pathlib import Path

TITLE = "# The tracking server in numbers"


def written(page: Path | None, part: str, lines: list[str]) -> None:
    """Print a part, and put it into the page in place of the one of that name."""
    text = "\n".join(lines).strip()
    print(text)
    if page is None:
        return
    before = page.read_text() if page.exists() else f"{TITLE}\n"
    begin, end = f"<!-- {part} -->", f"<!-- end of {part} -->"
    block = f"{begin}\n{text}\n{end}"
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if pattern.search(before):
        after = pattern.sub(lambda _: block, before)
    else:
        after = f"{before.rstrip()}\n\n{block}\n"
    page.write_text(after)
