"""Run the examples that need packages of their own, from the extra `examples`: `make examples`.

Each must end within three minutes on a CPU, with the accuracies by shot group as its last line and the rare classes not
lost.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
import tomllib

from environment import ROOT, environment

EXAMPLES = ("lightning_loop.py", "hugging_face_trainer.py")
FEW = 0.74  # at least: the adjusted loss has 0.79 and 0.80, cross-entropy in its place 0.70 and 0.63


def faults(name: str, output: str) -> list[str]:
    """What is wrong with the last line of an example."""
    try:
        found = ast.literal_eval(output.strip().rpartition("\n")[2])
        few = float(found["few"])
    except (SyntaxError, ValueError, KeyError, TypeError):
        return [f"{name} did not end with accuracies: {output[-300:]!r}"]
    return [f"{name}: rare classes have {few:.2f}, less than {FEW}"] if few < FEW else []


def run(python: str, name: str) -> list[str]:
    command = [python, str(ROOT / "examples" / name)]
    kept = {**os.environ, "PYTHONPATH": str(ROOT)}
    try:
        ended = subprocess.run(command, env=kept, cwd=ROOT, capture_output=True, text=True, timeout=180)
    except subprocess.TimeoutExpired:
        return [f"{name} took longer than three minutes"]
    print(f"{name}: {ended.stdout.strip()[-120:]}", flush=True)
    return [f"{name}: {ended.stderr[-1500:]}"] if ended.returncode else faults(name, ended.stdout)


def main() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    packages = project["optional-dependencies"]["examples"]
    python = environment(ROOT / "_build" / "examples" / "venv", packages, upon=True)
    if found := [fault for name in EXAMPLES for fault in run(str(python), name)]:
        sys.exit("\n".join(found))


if __name__ == "__main__":
    main()
