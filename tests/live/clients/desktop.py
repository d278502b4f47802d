"""Mail programs of the desktop: Camel, which is Evolution's, Claws Mail and Sylpheed."""

import os
import re
import subprocess
import time
from pathlib import Path

from clients.everyday import Everyday
from clients.libraries import Script
from lib.clients import take_all
from lib.process import CLIENT_USER, environment, identity, run
from lib.report import Failed
from lib.server import CLEARTEXT, STLS, TLS, Endpoint
from lib.site import Account


class Camel(Script):
    """Evolution's mail library, by a script that uses it as Evolution does."""

    name = "Camel"
    transports = (CLEARTEXT, STLS, TLS)
    # Debian's interpreter, which has the bindings.
    interpreter, script = "/usr/bin/python3", "camel.py"
    # Its message for both errors.
    wrong = busy = r"authentication: rejected"

    def version(self) -> str:
        return run(["dpkg-query", "--show", "evolution-data-server"]).stdout.strip()

    def shape(self, wire: bytes) -> bytes:
        return wire.replace(b"\r\n", b"\n")


class Windowed(Everyday):
    """A program that fetches at its start, and logs its session."""

    # The option for its directory, and the files there; `--exit` ends it.
    program, directory_option, log = "", "", ""
    settings: tuple[tuple[str, str], ...] = ()
    wrong = r"POP3?< -ERR \[AUTH\] wrong user name or password"
    busy = r"POP3?< -ERR \[IN-USE\] this maildrop is open"

    def version(self) -> str:
        with Display() as display:
            return run([self.program, "--version"], variables=display).stdout.strip()

    def shape(self, wire: bytes) -> bytes:
        return wire.replace(b"\r\n", b"\n")

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, "remove_mail=0")

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, "remove_mail=1", "message_leave_time=0")

    def _run(
        self, account: Account, endpoint: Endpoint, home: Path, *options: str
    ) -> list[bytes]:
        directory = self._directory(account, endpoint, home, options)
        log = directory / self.log
        log.unlink(missing_ok=True)
        command = [self.program, self.directory_option, directory]
        with Display() as display:
            process = subprocess.Popen(
                list(map(str, [*command, "--receive"])),
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                cwd=home, **identity(),
                env=environment(home, {**display, "SSL_CERT_FILE": self.site.certificate}),
            )
            try:
                said = self._session(process, log)
                # It writes the list of seen messages right after the session.
                run([*command, "--exit"], home=home, variables=display, timeout=20)
                process.wait(20)
            finally:
                process.kill()
                process.wait()
        if "-ERR" in said:
            raise Failed(said)
        return take_all(home / "Mail" / "inbox", "[0-9]*")

    def _session(self, process: "subprocess.Popen[bytes]", log: Path) -> str:
        """Waits for the end of the session. Returns its log."""
        ends = time.monotonic() + self.limit
        said = ""
        while time.monotonic() < ends and process.poll() is None:
            said = log.read_text(errors="replace") if log.exists() else ""
            if re.search(r"POP3?> QUIT\n.*POP3?< |POP3?< -ERR", said, re.DOTALL):
                return said
            time.sleep(0.1)
        raise Failed(f"no session within {self.limit:.0f} s: {said[-1500:]}")

    def _directory(
        self, account: Account, endpoint: Endpoint, home: Path, options: tuple[str, ...]
    ) -> Path:
        """Its settings, and the folders for mail."""
        directory = home / "settings"
        directory.mkdir(exist_ok=True)
        folders = {"inbox": "inbox", "outbox": "sent", "draft": "draft", "queue": "queue",
                   "trash": "trash"}
        for folder in folders.values():
            (home / "Mail" / folder).mkdir(parents=True, exist_ok=True)
        items = "".join(
            f'<folderitem type="{kind}" name="{name}" path="{name}"/>\n'
            for kind, name in folders.items()
        )
        files = {
            "folderlist.xml": '<?xml version="1.0" encoding="UTF-8"?>\n<folderlist>\n'
            f'<folder type="mh" name="Mailbox" path="{home}/Mail">\n{items}</folder>\n'
            "</folderlist>\n",
            "accountrc": "\n".join(
                [
                    "[Account: 1]", "account_name=interop", "is_default=1", "name=Interop",
                    "address=interop@example.org", "protocol=0",
                    f"receive_server={endpoint.host}", "smtp_server=localhost",
                    f"user_id={account.user}", f"password={account.password}",
                    f"ssl_pop={[CLEARTEXT, TLS, STLS].index(endpoint.transport)}",
                    "set_popport=1", f"pop_port={endpoint.port}", "receive_at_get_all=1",
                    "inbox=#mh/Mailbox/inbox",
                    # It asks about each new certificate, even if it trusts the authority.
                    "ssl_certs_auto_accept=1", *options, "",
                ]
            ),
            # Sylpheed's file of the authorities that the user trusts.
            "trust.crt": self.site.certificate.read_text(),
            **dict(self.settings),
        }
        for name, text in files.items():
            (directory / name).write_text(text)
        self.site.own(home, CLIENT_USER)
        return directory


class Claws(Windowed):
    """Claws Mail."""

    name = "Claws Mail"
    program, directory_option, log = "claws-mail", "--alternate-config-dir", "claws.log"
    settings = (
        (
            "clawsrc",
            "[Common]\nno_receive_error_panel=1\nreceive_dialog_mode=2\nconfirm_on_exit=0\n"
            "ask_on_clean=0\nwarn_queued_on_exit=0\n",
        ),
    )


class Sylpheed(Windowed):
    """Sylpheed."""

    name = "Sylpheed"
    program, directory_option, log = "sylpheed", "--configdir", "sylpheed.log"
    settings = (
        (
            "sylpheedrc",
            "[Common]\nreceive_dialog_mode=2\nno_receive_error_panel=1\nconfirm_on_exit=0\n"
            "ask_on_clean=0\nwarn_queued_on_exit=0\n",
        ),
    )


class Display:
    """An X server without a screen, while the `with` block runs. Yields its name."""

    def __enter__(self) -> dict[str, str]:
        reader, writer = os.pipe()
        self._process = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writer), "-screen", "0", "1024x768x24", "-nolisten", "tcp"],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            pass_fds=[writer],
        )
        os.close(writer)
        with os.fdopen(reader) as number:
            return {"DISPLAY": f":{number.readline().strip()}", "NO_AT_BRIDGE": "1"}

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(20)


DESKTOP = (Camel, Claws, Sylpheed)
