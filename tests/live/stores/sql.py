"""PostgreSQL, MariaDB and SQLite with the same table of users."""

import secrets
import signal
import sqlite3
from pathlib import Path
from typing import Optional

from lib.process import LOOPBACK, SERVER_USER, free_port, run
from lib.report import Failed, require
from lib.site import Site
from stores.app_passwords import made
from stores.backend import Backend, Daemon, Served, hashed, program, verifies

TABLE = (
    "CREATE TABLE users (name {key} PRIMARY KEY, password text, home text, mail text, "
    "pop3 boolean, sessions integer, last_login timestamp NULL)"
)
APP_TABLE = (
    "CREATE TABLE app_passwords (name {key}, app_password varchar(64), password text NOT NULL, "
    "PRIMARY KEY (name, app_password))"
)
QUERY = (
    "SELECT password, home, mail, pop3, sessions, NULL AS app_password FROM users "
    "WHERE name = {user} UNION ALL SELECT password, NULL, NULL, NULL, NULL, app_password "
    "FROM app_passwords WHERE name = {user}"
)

UPDATE = "UPDATE users SET last_login = CURRENT_TIMESTAMP WHERE name = {user}"
LIST = "SELECT name FROM users"


class Sql(Backend):
    """The common parts of the three: the rows, and the section of the configuration."""

    attributes = frozenset(["home", "mail", "pop3", "sessions"])
    has_app_passwords = True

    def execute(self, statement: str) -> str:
        """Runs a statement as the owner of the table, with the database's own client."""
        raise NotImplementedError

    def ask(self, statement: str) -> str:
        """Runs a statement as Restante's role, within 2 s."""
        raise NotImplementedError

    def url(self) -> str:
        """The URL of the database, without a password."""
        raise NotImplementedError

    def add(self, user: str, password: str, **attributes: object) -> None:
        self.enter(user, hashed(self.site, password), **attributes)

    def enter(self, user: str, verifier: Optional[str], **attributes: object) -> None:
        """Adds a user with this value in the password column."""
        columns = {"name": user, "password": verifier, **attributes}
        names, values = ", ".join(columns), ", ".join(map(literal, columns.values()))
        self.execute(f"INSERT INTO users ({names}) VALUES ({values})")

    def add_app_password(self, user: str, name: str) -> str:
        password, verifier = made(self.site)
        values = ", ".join(map(literal, (user, name, verifier)))
        self.execute(f"INSERT INTO app_passwords VALUES ({values})")
        return password

    def remove_app_password(self, user: str, name: str) -> None:
        which = f"name = {literal(user)} AND app_password = {literal(name)}"
        self.execute(f"DELETE FROM app_passwords WHERE {which}")

    def admits(self, user: str, password: str) -> bool:
        found = self.ask(f"SELECT password FROM users WHERE name = {literal(user)}").strip()
        return found != "" and verifies(found, password)

    def seen(self, user: str) -> bool:
        """Whether a login of the user is in the table."""
        where = f"name = {literal(user)} AND last_login IS NOT NULL"
        return self.execute(f"SELECT count(*) FROM users WHERE {where}").strip() == "1"

    def settings(self, directory: Path) -> str:
        return (
            '[[credentials]]\nkind = "sql"\n'
            f'url = "{self.url()}"\nquery = "{QUERY}"\ndeadline = "2s"\n'
            f'update-query = "{UPDATE}"\nlist-query = "{LIST}"\n'
        )


class Database(Served, Sql):
    """A database that is a server."""

    scheme = ""
    owner = ""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.port = free_port()
        self.password = secrets.token_hex(12)
        self.data = self.root / "data"
        self.role = self.root / "role"
        self.daemon = Daemon(self.command(), self.owner, self.root)

    def command(self) -> list[object]:
        """The server's command line."""
        raise NotImplementedError

    def install(self) -> None:
        """Creates the data directory."""
        raise NotImplementedError

    def furnish(self) -> None:
        """Creates database, role and table."""
        raise NotImplementedError

    def ready(self) -> bool:
        """Whether it answers."""
        try:
            self.execute("SELECT 1")
        except Failed:
            return False
        return True

    def start(self) -> None:
        new = not self.data.exists()
        if new:
            self.site.own(self.root, self.owner)
            self.install()
        self.daemon.start(self.ready, 60)
        if new:
            self.furnish()

    def url(self) -> str:
        return f"{self.scheme}://restante@{LOOPBACK}:{self.port}/mail"

    def settings(self, directory: Path) -> str:
        path = self.secret(directory / f"{self.name}-password", self.password)
        return super().settings(directory) + f'password-file = "{path}"\n'


class PostgreSql(Database):
    """PostgreSQL, whose roles log in by SCRAM."""

    name = "postgresql"
    scheme = "postgres"
    owner = "postgres"

    def command(self) -> list[object]:
        return [
            installed("postgres"), "-D", self.data, "-p", self.port,
            "-c", f"listen_addresses={LOOPBACK}", "-c", f"unix_socket_directories={self.root}",
        ]

    def install(self) -> None:
        run(
            [
                installed("initdb"), "--pgdata", self.data, "--encoding", "UTF8", "--no-sync",
                "--locale", "C.UTF-8", "--auth-local", "peer", "--auth-host", "scram-sha-256",
            ],
            who=self.owner, home=self.root,
        )

    def furnish(self) -> None:
        self._client("postgres", "CREATE DATABASE mail")
        self.execute(TABLE.format(key="text"))
        self.execute(APP_TABLE.format(key="text"))
        self.execute(f"CREATE ROLE restante LOGIN PASSWORD {literal(self.password)}")
        self.execute("GRANT SELECT ON users, app_passwords TO restante")
        self.execute("GRANT UPDATE (last_login) ON users TO restante")
        self.role.touch(mode=0o600)
        self.role.write_text(f"*:*:*:restante:{self.password}\n")
        self.site.own(self.role, self.owner)

    def ready(self) -> bool:
        try:
            self._client("postgres", "SELECT 1")
        except Failed:
            return False
        return True

    def stop(self) -> None:
        # Not SIGTERM, which waits for all clients to disconnect.
        self.daemon.stop(signal.SIGINT)

    def execute(self, statement: str) -> str:
        return self._client("mail", statement)

    def _client(self, database: str, statement: str) -> str:
        return self._psql(f"host={self.root} user={self.owner} dbname={database}", statement)

    def ask(self, statement: str) -> str:
        return self._psql(
            f"host={LOOPBACK} user=restante dbname=mail passfile={self.role} sslmode=disable",
            statement, timeout=2,
        )

    def _psql(self, where: str, statement: str, timeout: float = 30) -> str:
        return run(
            [
                "psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align",
                "--set", "ON_ERROR_STOP=1", "--dbname", f"port={self.port} {where}",
            ],
            stdin=statement, who=self.owner, home=self.root, timeout=timeout,
        ).stdout


class MariaDb(Database):
    """MariaDB, with case-sensitive names."""

    name = "mariadb"
    scheme = "mysql"
    owner = "mysql"

    def command(self) -> list[object]:
        return [
            program("mariadbd", "mysqld"), "--no-defaults", f"--datadir={self.data}",
            f"--socket={self.root}/socket", f"--pid-file={self.root}/pid", f"--port={self.port}",
            f"--bind-address={LOOPBACK}", "--skip-name-resolve", "--skip-log-bin",
            "--innodb-buffer-pool-size=16M", "--innodb-log-file-size=8M",
        ]

    def install(self) -> None:
        run(
            [
                program("mariadb-install-db", "mysql_install_db"), "--no-defaults",
                f"--datadir={self.data}", "--auth-root-authentication-method=socket",
                f"--auth-root-socket-user={self.owner}", "--skip-test-db",
            ],
            who=self.owner, home=self.root,
        )

    def furnish(self) -> None:
        self._client("mysql", "CREATE DATABASE mail CHARACTER SET utf8mb4")
        for table in (TABLE, APP_TABLE):
            self.execute(table.format(key="varchar(255) COLLATE utf8mb4_bin"))
        role = f"restante@'{LOOPBACK}'"
        self.execute(f"CREATE USER {role} IDENTIFIED BY {literal(self.password)}")
        for table in ("users", "app_passwords"):
            self.execute(f"GRANT SELECT ON mail.{table} TO {role}")
        self.execute(f"GRANT UPDATE (last_login) ON mail.users TO {role}")
        self.role.touch(mode=0o600)
        self.role.write_text(f"[client]\nuser=restante\npassword={self.password}\n")
        self.site.own(self.role, self.owner)

    def ready(self) -> bool:
        try:
            self._client("mysql", "SELECT 1")
        except Failed:
            return False
        return True

    def execute(self, statement: str) -> str:
        return self._client("mail", statement)

    def _client(self, database: str, statement: str) -> str:
        return self._mariadb(
            ["--no-defaults", f"--socket={self.root}/socket", database], statement
        )

    def ask(self, statement: str) -> str:
        where = [
            f"--defaults-file={self.role}", f"--host={LOOPBACK}", f"--port={self.port}", "mail"
        ]
        return self._mariadb(where, statement, timeout=2)

    def _mariadb(self, where: list[str], statement: str, timeout: float = 30) -> str:
        # The option about defaults must be the first.
        return run(
            [program("mariadb", "mysql"), *where, "--batch", "--skip-column-names"],
            stdin=statement, who=self.owner, home=self.root, timeout=timeout,
        ).stdout


class Sqlite(Sql):
    """SQLite: a file, which is down while it is moved away, and hangs while it is locked."""

    name = "sqlite"

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self.file = self.root / "users.db"
        self.away = self.root / "users.away"
        self.lock: Optional[sqlite3.Connection] = None

    def start(self) -> None:
        if self.away.exists():
            self.away.rename(self.file)
            return
        self.execute(TABLE.format(key="text"))
        self.execute(APP_TABLE.format(key="text"))
        self.site.own(self.root, SERVER_USER)

    def stop(self) -> None:
        self.resume()
        self.file.rename(self.away)

    def hang(self) -> None:
        self.lock = sqlite3.connect(self.file, isolation_level=None)
        self.lock.execute("BEGIN EXCLUSIVE")

    def resume(self) -> None:
        lock, self.lock = self.lock, None
        if lock is not None:
            lock.close()

    def close(self) -> None:
        self.resume()

    def execute(self, statement: str) -> str:
        return run(["sqlite3", self.file, statement], who=None).stdout

    def ask(self, statement: str) -> str:
        return run(
            ["sqlite3", "-readonly", "-cmd", ".timeout 60000", self.file, statement],
            who=SERVER_USER, timeout=2,
        ).stdout

    def url(self) -> str:
        return f"sqlite://{self.file}"


def installed(name: str) -> str:
    """A program of the newest installed PostgreSQL, which on Debian is not in the PATH."""
    versions = sorted(
        Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: int(path.parts[4])
    )
    return str(versions[-1]) if versions else program(name)


def literal(value: object) -> str:
    """An SQL literal that is the same in all three."""
    if value is None:
        return "NULL"
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int):
        return str(value)
    require("\\" not in str(value), "backslashes mean something in one of the three")
    return "'" + str(value).replace("'", "''") + "'"
