"""A checkpassword program: the interface, implemented in a few lines of Python."""

import json
from pathlib import Path

from lib.process import SERVER_USER, run
from lib.site import Site
from stores.backend import BehindBarrier

# <https://cr.yp.to/checkpwd/interface.html>: descriptor 3 has name, password and a time, each with a
# NUL after it. Then the program in the arguments is run, with the attributes of the user in its
# environment; or the exit code is 1 for a wrong password, 111 for a temporary error.
PROGRAM = """\
import json, os, subprocess, sys

with os.fdopen(3, "rb") as source:
    name, password, _, rest = source.read(513).split(b"\\0", 3)
root = sys.argv[1]
subprocess.run(["flock", "--shared", f"{root}/gate", "true"], check=True)
try:
    users = json.load(open(f"{root}/users"))
except FileNotFoundError:
    sys.exit(111)
user = users.get(name.decode(errors="surrogateescape"))
if user is None or user["password"].encode() != password:
    sys.exit(1)
os.environ.update({"USER": name.decode(), **user["environment"]})
os.execvp(sys.argv[2], sys.argv[2:])
"""


class CheckPassword(BehindBarrier):
    """The program, with its users in a file."""

    name = "checkpassword"
    attributes = frozenset(["home", "mail", "pop3", "sessions"])

    def __init__(self, site: Site) -> None:
        super().__init__(site, "users")
        self.program = self.root / "checkpassword.py"
        self.users: dict[str, object] = {}

    def start(self) -> None:
        if self.is_put_back():
            return
        self.program.write_text(PROGRAM)
        self.file.write_text("{}")

    def add(self, user: str, password: str, **attributes: object) -> None:
        names = {
            "home": "HOME", "mail": "MAILDIR", "pop3": "RESTANTE_POP3",
            "sessions": "RESTANTE_SESSIONS",
        }
        environment = {names[key]: str(value) for key, value in attributes.items()}
        self.users[user] = {"password": password, "environment": environment}
        self.file.write_text(json.dumps(self.users))

    def admits(self, user: str, password: str) -> bool:
        # `subprocess` closes descriptor 3, so it is opened by a shell.
        given = self.root / "given"
        given.write_bytes(f"{user}\0{password}\0 1\0".encode())
        said = run(
            ["sh", "-c", 'exec 3<"$1"; shift; exec "$@"', "-", given, *self.command(),
             "sh", "-c", 'echo "in as $USER"'],
            who=SERVER_USER, codes=(0, 1), timeout=2,
        ).stdout
        return said.strip() == f"in as {user}"

    def command(self) -> list[str]:
        """The program with its own argument."""
        return ["/usr/bin/python3", "-I", str(self.program), str(self.root)]

    def settings(self, directory: Path) -> str:
        return (
            '[[credentials]]\nkind = "checkpassword"\n'
            f'command = {json.dumps(self.command())}\ndeadline = "2s"\n'
        )
