"""Thunderbird sets up an account by itself, as its wizard does.

The names of the domain lead to the server by a proxy, since they are in no DNS: Thunderbird asks it
for `https://autoconfig.example.org`, and it connects to the port of the server instead.
"""

import socket
import threading
from typing import Any

from lib import thunderbird
from lib.report import Failed, require
from lib.server import TLS, Server
from lib.site import Account, Site


class Proxy:
    """An HTTP proxy that leads CONNECT for one name to a port of this machine."""

    def __init__(self, name: str, port: int) -> None:
        self._target, self._to = f"CONNECT {name}:443 ".encode(), port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """No further connections."""
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            head = b""
            while b"\r\n\r\n" not in head:
                part = client.recv(4096)
                if not part:
                    return
                head += part
            if not head.startswith(self._target):
                client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self._to)) as server:
                client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
                back = threading.Thread(target=copy, args=(server, client), daemon=True)
                back.start()
                copy(client, server)
                back.join()


def copy(source: socket.socket, target: socket.socket) -> None:
    """Copies until the end of the source."""
    try:
        while part := source.recv(65536):
            target.sendall(part)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def set_up(site: Site, server: Server, web: int, account: Account) -> str:
    """Finds the settings of an address, logs in with them, and creates the account."""
    proxy = Proxy("autoconfig.example.org", web)
    try:
        with thunderbird.Program(site, site.home(), 120) as program:
            found: Any = program.run(SET_UP, {
                "address": account.user, "password": account.password, "proxy": proxy.port,
                "port": server.ports[TLS],
                "certificate": "".join(site.certificate.read_text().split("\n")[1:-2]),
            })
    finally:
        proxy.close()
    if "error" in found:
        raise Failed(found["error"])
    require(found["type"] == "pop3", f"it proposes {found}")
    require(found["port"] == server.ports[TLS], f"it proposes {found}")
    require(found["user"] == account.user, f"it proposes {found}")
    require(found["smtp"] == "smtp.example.org", f"it proposes {found}")
    require(found["source"] == "xml-from-isp-https", f"it proposes {found}")
    require(f"user={account.user}" in server.log.read_text(), "it has not logged in")
    return f"{found['type']} {found['host']}:{found['port']} as {found['user']}"


# The steps of the account hub of Thunderbird: find, fill in, verify by a login, create.
SET_UP = """
const [wanted, done] = [arguments[0], arguments[1]];
(async () => {
  const load = name =>
    ChromeUtils.importESModule(`resource:///modules/accountcreation/${name}.sys.mjs`);
  const { FindConfig } = load("FindConfig");
  const { AccountConfig } = load("AccountConfig");
  const { ConfigVerifier } = load("ConfigVerifier");
  const { CreateInBackend } = load("CreateInBackend");
  Services.prefs.setIntPref("network.proxy.type", 1);
  for (const scheme of ["http", "ssl"]) {
    Services.prefs.setStringPref(`network.proxy.${scheme}`, "127.0.0.1");
    Services.prefs.setIntPref(`network.proxy.${scheme}_port`, wanted.proxy);
  }
  const certificate = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB)
    .constructX509FromBase64(wanted.certificate);
  const overrides = Cc["@mozilla.org/security/certoverride;1"]
    .getService(Ci.nsICertOverrideService);
  for (const [host, port] of [["autoconfig.example.org", 443], ["localhost", wanted.port]]) {
    overrides.rememberValidityOverride(host, port, {}, certificate, true);
  }
  const domain = wanted.address.split("@")[1];
  const signal = new AbortController().signal;
  const steps = FindConfig.parallelAutoDiscovery(domain, wanted.address, signal);
  let step = await steps.next();
  while (!step.done) step = await steps.next({ acceptRedirect: false });
  const config = step.value;
  if (!config) throw new Error("no settings were found");
  AccountConfig.replaceVariables(config, "M. Rose", wanted.address, wanted.password);
  const verifier = new ConfigVerifier(null, signal);
  const verified = await verifier.verifyConfig(config, false);
  await CreateInBackend.createAccountInBackend(verified);
  const incoming = verified.incoming;
  done({
    type: incoming.type, host: incoming.hostname, port: incoming.port, user: incoming.username,
    smtp: verified.outgoing.hostname, source: verified.subSource,
  });
})().catch(error => done({ error: `${error}` }));
"""
