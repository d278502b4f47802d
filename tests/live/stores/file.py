"""A credential file: a backend without processes, which cannot be down."""

from pathlib import Path

from lib.process import SERVER_USER, run
from lib.site import Site
from stores.backend import Backend, hashed, verifies


class File(Backend):
    """The file, with hashes by Restante."""

    name = "file"
    attributes = frozenset(["home", "mail", "pop3", "sessions"])
    has_app_passwords = True
    can_fail = False

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.file = self.root / "users"

    def start(self) -> None:
        self.file.touch(mode=0o600)
        self.site.own(self.file, SERVER_USER)

    def close(self) -> None:
        pass  # it is removed with the rest

    def add(self, user: str, password: str, **attributes: object) -> None:
        # The fields of a file of Dovecot; the last two are Restante's own.
        extra = {
            "userdb_mail": attributes.get("mail"),
            "pop3": "no" if attributes.get("pop3") is False else None,
            "sessions": attributes.get("sessions"),
        }
        words = " ".join(f"{key}={value}" for key, value in extra.items() if value is not None)
        rest = f"5000:5000::{attributes.get('home', '')}::{words}"
        with self.file.open("a") as file:
            file.write(f"{user}:{hashed(self.site, password)}:{rest}\n")

    def admits(self, user: str, password: str) -> bool:
        # As for Dovecot, the first line of a user counts.
        lines = reversed(self.file.read_text().splitlines())
        users = dict(line.split(":")[:2] for line in lines)
        return user in users and verifies(users[user], password)

    def add_app_password(self, user: str, name: str) -> str:
        return self._app_password("add", user, name).strip()

    def remove_app_password(self, user: str, name: str) -> None:
        self._app_password("remove", user, name)

    def _app_password(self, action: str, user: str, name: str) -> str:
        words = ["user", "app-password", action, "--file", self.file, user, name]
        return run([self.site.program, *words], who=None).stdout

    def settings(self, directory: Path) -> str:
        return f'[[credentials]]\nkind = "file"\npath = "{self.file}"\n'
