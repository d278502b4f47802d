"""Thunderbird as a client of a POP3 server, without a screen."""

import json
import re
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

from lib.clients import Client, take
from lib.process import CLIENT_USER, environment, free_port, identity, run
from lib.report import Failed
from lib.server import CLEARTEXT, STLS, TLS, Endpoint
from lib.site import Account, Site


class Thunderbird(Client):
    """Thunderbird, controlled by Marionette, the built-in automation of Mozilla's programs."""

    name = "Thunderbird"
    limit = 90.0

    def version(self) -> str:
        return run(["thunderbird", "--version"], home=self.site.home()).stdout.strip()

    def shape(self, wire: bytes) -> bytes:
        return wire.replace(b"\r\n", b"\n")

    def fetch(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, leave=True)

    def remove(self, account: Account, endpoint: Endpoint, home: Path) -> list[bytes]:
        return self._run(account, endpoint, home, leave=False)

    def _run(
        self, account: Account, endpoint: Endpoint, home: Path, leave: bool
    ) -> list[bytes]:
        with Program(self.site, home, self.limit) as program:
            program.run(SET_UP, {
                "user": account.user, "password": account.password, "port": endpoint.port,
                "security": {CLEARTEXT: 0, STLS: 2, TLS: 3}[endpoint.transport], "leave": leave,
                "certificate": "".join(self.site.certificate.read_text().split("\n")[1:-2]),
            })
            result = program.run(GET_MAIL, {})
            if result is None:
                raise Failed(program.dialog())
        if result["failed"]:
            raise Failed(f"it ended with {result['failed']}")
        inbox = Path(result["inbox"])
        text = take(inbox)
        Path(f"{inbox}.msf").unlink(missing_ok=True)
        messages = re.split(rb"^From .*\n", text.replace(b"\r\n", b"\n"), flags=re.MULTILINE)[1:]
        added = re.compile(rb"^X-(Account-Key|UIDL|Mozilla-[A-Za-z0-9]+):.*\n", re.MULTILINE)
        return [added.sub(b"", message).removesuffix(b"\n") for message in messages]


class Program:
    """A running Thunderbird, while the `with` block runs."""

    def __init__(self, site: Site, home: Path, limit: float) -> None:
        self._ends = time.monotonic() + limit
        profile = home / "profile"
        if not profile.exists():
            profile.mkdir()
            site.own(profile, CLIENT_USER)
        port = free_port()
        preferences = {
            "marionette.port": port, "mailnews.start_page.enabled": False,
            "mail.provider.suppress_dialog_on_startup": True, "mail.spotlight.firstRunDone": True,
            "app.update.enabled": False, "datareporting.policy.bypassNotification": True,
            "mail.warn_on_delete_from_server": False,
        }
        (profile / "user.js").write_text(
            "".join(
                f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
                for name, value in preferences.items()
            )
        )
        self._process = subprocess.Popen(
            ["thunderbird", "--headless", "--no-remote", "--marionette",
             "--remote-allow-system-access", "--profile", str(profile)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            cwd=home, env=environment(home, {"MOZ_HEADLESS": "1"}), **identity(),
        )
        self._port = port
        self._number = 0

    def __enter__(self) -> "Program":
        while True:
            try:
                self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=60)
                break
            except OSError:
                if time.monotonic() > self._ends or self._process.poll() is not None:
                    self._process.kill()
                    raise Failed("Thunderbird does not answer") from None
                time.sleep(0.2)
        self._stream = self._socket.makefile("rb")
        self._receive()
        self._command("WebDriver:NewSession", {
            "capabilities": {"alwaysMatch": {"unhandledPromptBehavior": "ignore"}}
        })
        self._command("Marionette:SetContext", {"value": "chrome"})
        self._command("WebDriver:SetTimeouts", {"script": 60_000})
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._command("Marionette:Quit", {"flags": ["eForceQuit"]})
            self._process.wait(30)
        except (Failed, OSError, subprocess.TimeoutExpired):
            pass
        finally:
            self._process.kill()
            self._process.wait()
            self._socket.close()

    def run(self, script: str, argument: dict[str, object]) -> Any:
        """Runs a script to its end, with the privileges of Thunderbird itself."""
        return self._command(
            "WebDriver:ExecuteAsyncScript", {"script": script, "args": [argument]}
        )["value"]

    def dialog(self) -> str:
        """The text of the open dialog, which is cancelled."""
        said = self._command("WebDriver:GetAlertText", {})["value"]
        self._command("WebDriver:DismissAlert", {})
        return said

    def _command(self, name: str, parameters: dict[str, object]) -> Any:
        self._number += 1
        text = json.dumps([0, self._number, name, parameters]).encode()
        self._socket.sendall(b"%d:%s" % (len(text), text))
        _, _, error, result = self._receive()
        if error is not None:
            raise Failed(f"{name}: {error.get('message')}")
        return result

    def _receive(self) -> Any:
        length = b""
        while (octet := self._stream.read(1)) != b":":
            if not octet:
                raise Failed("Thunderbird has ended")
            length += octet
        return json.loads(self._stream.read(int(length)))


# Creates the account in the first run, and sets its options.
SET_UP = """
const [wanted, done] = [arguments[0], arguments[1]];
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
let server = MailServices.accounts.findServer(wanted.user, "localhost", "pop3");
if (!server) {
  server = MailServices.accounts.createIncomingServer(wanted.user, "localhost", "pop3");
  const identity = MailServices.accounts.createIdentity();
  identity.email = "interop@example.org";
  const account = MailServices.accounts.createAccount();
  account.addIdentity(identity);
  account.incomingServer = server;
}
server.port = wanted.port;
server.socketType = wanted.security;
server.authMethod = Ci.nsMsgAuthMethod.passwordCleartext;
server.password = wanted.password;
server.loginAtStartUp = false;
server.doBiff = false;
const pop3 = server.QueryInterface(Ci.nsIPop3IncomingServer);
pop3.deferredToAccount = "";
pop3.leaveMessagesOnServer = wanted.leave;
server.valid = true;
const certificate = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB)
  .constructX509FromBase64(wanted.certificate);
Cc["@mozilla.org/security/certoverride;1"].getService(Ci.nsICertOverrideService)
  .rememberValidityOverride("localhost", wanted.port, {}, certificate, true);
done(true);
"""

# The action of the button "Get Messages"; a dialog ends it without a value.
GET_MAIL = """
const done = arguments[1];
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");
const server = MailServices.accounts.allServers.find(each => each.type == "pop3");
const inbox = server.rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
const window = Services.wm.getMostRecentWindow("mail:3pane");
MailServices.pop3.GetNewMail(window?.msgWindow ?? null, {
  OnStartRunningUrl() {},
  OnStopRunningUrl(url, code) {
    const failed = Components.isSuccessCode(code) ? "" : "0x" + code.toString(16);
    done({ failed, inbox: inbox.filePath.path });
  },
}, inbox, server);
"""
