"""Writes golden files next to the scripts, the same bytes for the same values."""

import json
import platform
from importlib.metadata import version
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

FOLDER = Path(__file__).parent
DTYPES = {"float64", "float32", "int32", "uint32"}


def versions() -> dict[str, str]:
    """The versions that shape the numbers, for the record in a JSON file."""
    packages = ["jax", "jaxlib", "ml_dtypes", "numpy", "optax", "safetensors", "scipy"]
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def write_tensors(name: str, tensors: dict[str, np.ndarray]) -> None:
    """Writes one safetensors file and reads it back; refuses other dtypes and non-finite values."""
    ready = {}
    for key, value in tensors.items():
        array = np.array(value, order="C")
        if str(array.dtype) not in DTYPES:
            raise TypeError(f"{key} has dtype {array.dtype}, wanted one of {sorted(DTYPES)}")
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            raise ValueError(f"{key} holds a value that is not finite")
        ready[key] = array
    path = FOLDER / name
    save_file(ready, path)
    path.chmod(0o644)
    for key, value in load_file(path).items():
        np.testing.assert_array_equal(value, ready[key], strict=True)
    print(f"{name}: {len(ready)} tensors, {path.stat().st_size} bytes")


def write_json(name: str, value: object) -> None:
    """Writes one JSON file; numeric lists stay on one line each."""
    path = FOLDER / name
    path.write_text(_render(value, "") + "\n")
    json.loads(path.read_text())
    print(f"{name}: {path.stat().st_size} bytes")


def _render(value: object, indent: str) -> str:
    inner = indent + "  "
    if isinstance(value, dict) and value:
        rows = [f"{inner}{json.dumps(k)}: {_render(v, inner)}" for k, v in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    if isinstance(value, list) and any(isinstance(item, (dict, list, str)) for item in value):
        return "[\n" + ",\n".join(inner + _render(v, inner) for v in value) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)
