"""Follows README: starts the demo, and runs the commands that it prints.

The commands are taken unchanged from README and from the demo's output, and run by a shell.
The other command, `cargo test`, is a separate step of `.ci/run`.
"""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

DEMO = "cargo run -- demo"
TEST = "cargo test"


def main() -> int:
    """Runs the demo and every curl line of it."""
    os.chdir(Path(__file__).resolve().parents[2])
    readme = Path("README.md").read_text()
    blocks = "\n".join(re.findall(r"^```\w*\n(.*?)^```", readme, re.M | re.S))
    for command in (DEMO, TEST):
        if not re.search(rf"^(\$ )?{re.escape(command)}( *#.*)?$", blocks, re.M):
            raise SystemExit(f"README.md has no line {command!r}")
    with tempfile.TemporaryDirectory() as directory:
        # The demo creates its files here, so that the clean-up can be checked.
        environment = {**os.environ, "TMPDIR": directory}
        output = Path(directory) / "output"
        with output.open("wb") as sink:
            demo = subprocess.Popen(
                ["bash", "-c", f"exec {DEMO}"], stdin=subprocess.DEVNULL,
                stdout=sink, stderr=subprocess.STDOUT, env=environment,
            )
        try:
            lines = curl_lines(demo, output)
            for line in lines:
                print(f"$ {line}", flush=True)
                done = subprocess.run(
                    ["bash", "-c", line], stdin=subprocess.DEVNULL, timeout=30, check=False,
                    capture_output=True,
                )
                said = done.stdout.decode(errors="replace")
                print("\n".join(said.splitlines()[:12]), flush=True)
                if done.returncode != 0:
                    print(done.stderr.decode(errors="replace"), file=sys.stderr)
                    raise SystemExit(f"curl ended with {done.returncode}")
        finally:
            demo.send_signal(signal.SIGINT)
            try:
                code = demo.wait(30)
            except subprocess.TimeoutExpired:
                demo.kill()
                demo.wait()
                raise
        if code != 0:
            raise SystemExit(f"the demo ended with {code} on Ctrl-C: {output.read_text()}")
        left = [path.name for path in Path(directory).iterdir() if path != output]
        if left:
            raise SystemExit(f"the demo left {left}")
    print(f"{len(lines)} lines of the demo work as they stand, and it clears up on Ctrl-C")
    return 0


def curl_lines(demo: "subprocess.Popen[bytes]", output: Path) -> list[str]:
    """Waits until the demo is built and serves, ten minutes at most. Returns the commands that it
    prints."""
    for _ in range(3000):
        text = output.read_text(errors="replace")
        lines = re.findall(r"^\s*(curl .*)$", text, re.M)
        # The log line about the second socket is the last.
        if lines and text.count("listening") >= 2:
            return lines
        if demo.poll() is not None:
            raise SystemExit(f"the demo ended with {demo.returncode}: {text}")
        time.sleep(0.2)
    raise SystemExit(f"the demo does not say that it listens: {output.read_text()}")


if __name__ == "__main__":
    sys.exit(main())
