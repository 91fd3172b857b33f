"""What the provider `google` accepts, out of the generated bindings that its npm package holds.

The provider itself cannot be fetched everywhere; its bindings for CDK Terrain can, and they name
every argument of every resource. This writes the part of them that deploy/gcp uses:

    pip download --no-deps cdktn-provider-google==21.1.0   # provider google 8.7.0
    unzip cdktn_provider_google-*.whl && tar xzf cdktn_provider_google/_jsii/*.tgz
    python tests/deploy/google_schema.py package > tests/deploy/google_schema.json
"""

import json
import re
import sys
from pathlib import Path

RESOURCES = Path(__file__).parents[2] / "deploy" / "gcp"
FUNCTION = re.compile(r"^function (\w+)ToHclTerraform\(struct\) \{(.*?)^\}", re.M | re.S)
OWN = re.compile(r"synthesizeHclAttributes\(\) \{(.*?)^    \}", re.M | re.S)
ENTRY = re.compile(
    r"^ +(\w+): \{\s+value: (.*?),\s+isBlock: (true|false),\s+type: \"(\w+)\",\s+"
    r"storageClassType: \"(\w+)\"",
    re.M | re.S,
)
INTERFACE = re.compile(r"^export interface (\w+)[^{]*\{(.*?)^\}", re.M | re.S)
FIELD = re.compile(r"^    readonly (\w+)(\??):", re.M)


GETTER = re.compile(r"^    get (\w+)\(\)", re.M)


def schema(folder: Path, resource: str) -> dict[str, object]:
    """{argument: its type, or for a block {"block": {...}}}; "required": what must be given.

    "readable": attributes that others may refer to.
    """
    room = folder / "lib" / resource.removeprefix("google_").replace("_", "-")
    code = (room / "index.js").read_text()
    types = dict(INTERFACE.findall((room / "index.d.ts").read_text()))
    nested = dict(FUNCTION.findall(code))
    name = "".join(part.capitalize() for part in resource.removeprefix("google_").split("_"))
    found = block(OWN.search(code)[1], nested, types, f"{name}Config")
    own = code[code.index("extends cdktn.TerraformResource") :]
    getters = {snake(getter) for getter in GETTER.findall(own) if not getter.endswith("Input")}
    return found | {"readable": sorted(getters)}


def block(body: str, nested: dict[str, str], types: dict[str, str], kind: str) -> dict[str, object]:
    needed = {snake(field) for field, mark in FIELD.findall(types[kind]) if not mark}
    found: dict[str, object] = {"required": sorted(needed)}
    for argument, value, is_block, _, storage in ENTRY.findall(body):
        inner = re.search(r"(\w+)ToHclTerraform", value)[1]
        if is_block == "true" and inner in nested:
            inside = inner[0].upper() + inner[1:]
            found[argument] = {"block": block(nested[inner], nested, types, inside)}
        else:
            found[argument] = storage
    return found


def snake(name: str) -> str:
    return re.sub(r"[A-Z]", lambda m: "_" + m[0].lower(), name)


def main() -> None:
    folder = Path(sys.argv[1])
    provider = json.loads((folder / "package.json").read_text())["cdktn"]["provider"]
    text = "".join(file.read_text() for file in sorted(RESOURCES.glob("*.tf")))
    used = sorted(set(re.findall(r'^resource "(google_\w+)"', text, re.M)))
    lines = [f'"{name}": {json.dumps(schema(folder, name), sort_keys=True)}' for name in used]
    joined = ",\n".join(lines)
    print(f'{{"provider": {json.dumps(provider)}, "resources": {{\n{joined}\n}}}}')


if __name__ == "__main__":
    main()
