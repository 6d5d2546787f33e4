"""The stage scripts and `hashrepro`, forked from one process that has imported their libraries.

Reads a request a line from standard input, in JSON: the modules to import first, a script and its arguments, the folder
to run it in, its environment, the file that takes its output. Runs one after the other and prints each exit code.
"""

import importlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from warm import end_as_python_does, exit_code, run_stage

# What a script imports besides our own, most of a small stage's time.
LIGHT = ("numpy", "pyarrow.parquet", "pydantic", "ruamel.yaml", "safetensors.numpy", "requests", "numba")
STORE = ("pandas", "mlflow", "mlflow.store.tracking.sqlalchemy_store")
LIBRARIES = {
    "train.py": (*LIGHT, *STORE, "torch", "timm"),
    "encode.py": (*LIGHT, *STORE, "torch", "timm"),
    "report": (*LIGHT, *STORE, "scipy.stats", "matplotlib.figure", "jinja2"),
}


class WarmStages:
    """Runs stage scripts and `hashrepro` without the time that their imports take: see warm_stages.py."""

    def __init__(self):
        environment = {**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"}
        script = Path(__file__).with_name("warm_stages.py")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.server = subprocess.Popen([sys.executable, script], env=environment, **pipes)

    def run(self, words: list[str], cwd: Path, environment: dict[str, str]) -> tuple[int, str]:
        """Exit code and output of a script with its arguments."""
        with tempfile.NamedTemporaryFile("r") as output:
            script = Path(words[0]).name
            libraries = LIBRARIES.get(words[1] if script == "hashrepro" else script, LIGHT)
            request = [libraries, words, str(cwd), environment, output.name]
            self.server.stdin.write(json.dumps(request) + "\n")
            self.server.stdin.flush()
            code = self.server.stdout.readline()
            assert code, "the process that all commands are forked from has ended"
            return int(code), output.read()

    def close(self) -> None:
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()


def main() -> None:
    for line in sys.stdin:
        libraries, words, cwd, environment, output = json.loads(line)
        for name in libraries:
            importlib.import_module(name)
        if (pid := os.fork()) == 0:
            file = os.open(output, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(file, 1)
            os.dup2(file, 2)
            end_as_python_does(lambda words=words: run_stage(words, cwd, environment))  # noqa: B023
        print(exit_code(pid), flush=True)


if __name__ == "__main__":
    main()
