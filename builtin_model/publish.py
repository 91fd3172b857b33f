"""After training: write the shipped folders, run the gate with its sweep, draw the sheet.

python -m builtin_model.publish --work DIR
"""

import argparse
import subprocess
import sys
from pathlib import Path

from builtin_model.export import export_clip, export_pipeline
from builtin_model.tokenizer import stored_tokenizer


def main() -> None:
    """Export from the checkpoints in --work, then judge what was exported."""
    parser = argparse.ArgumentParser(description="Export and judge the built-in model.")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--only-export", action="store_true")
    args = parser.parse_args()
    tokenizer = stored_tokenizer(args.work)
    for folder in (export_pipeline(args.work, tokenizer), export_clip(args.work, tokenizer)):
        size_mb = sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()) / 1e6
        print(f"{folder.name}: {size_mb:.1f} MB", flush=True)
    if not args.only_export:
        run = [sys.executable, "-m"]
        gate = [*run, "builtin_model.gate", "--work", str(args.work), "--sweep"]
        subprocess.run(gate, check=True)
        subprocess.run([*run, "builtin_model.sheet"], check=True)


if __name__ == "__main__":
    main()
