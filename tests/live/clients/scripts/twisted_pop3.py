"""Fetches mail with Twisted's POP3 client, as a program of a site would. Called by libraries.py as

    twisted_pop3.py fetch|remove PORT cleartext|STLS|TLS USER CA-FILE DIRECTORY

with the password on standard input. DIRECTORY/seen holds the unique-ids fetched so far; a message
is stored as DIRECTORY/mail.N.
"""

import sys
from pathlib import Path

from twisted.internet import defer, endpoints, protocol, ssl, task
from twisted.mail.pop3 import AdvancedPOP3Client


def main(reactor, job, port, transport, user, ca, directory):
    """Connects, and ends once `fetch` has."""
    password = sys.stdin.readline().rstrip("\n")
    trust = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(Path(ca).read_bytes())])
    context = ssl.optionsForClientTLS("localhost", trustRoot=trust)
    factory = protocol.Factory.forProtocol(Client)
    endpoint = endpoints.HostnameEndpoint(reactor, "localhost", int(port))
    if transport == "TLS":
        endpoint = endpoints.wrapClientTLS(context, endpoint)

    def connected(client):
        client.allowInsecureLogin = transport == "cleartext"
        return client.greeted.addCallback(
            lambda _: fetch(client, job, transport, context, user, password, Path(directory))
        )

    return endpoint.connect(factory).addCallback(connected)


class Client(AdvancedPOP3Client):
    """A client that says when it may begin."""

    timeout = 30

    def __init__(self):
        self.greeted = defer.Deferred()

    def serverGreeting(self, greeting):
        """Called by Twisted once the greeting is there."""
        super().serverGreeting(greeting)
        self.greeted.callback(None)


@defer.inlineCallbacks
def fetch(client, job, transport, context, user, password, directory):
    """The session."""
    seen_file = directory / "seen"
    seen = set(seen_file.read_bytes().split()) if seen_file.exists() else set()
    if transport == "STLS":
        yield client.startTLS(context)
    yield client.login(user.encode(), password.encode())
    ids = yield client.listUID()
    for index, unique_id in enumerate(ids):
        if unique_id in seen:
            continue
        lines = yield client.retrieve(index)
        text = b"".join(line + b"\r\n" for line in lines)
        (directory / f"mail.{index + 1}").write_bytes(text)
        seen.add(unique_id)
        if job == "remove":
            yield client.delete(index)
    yield client.quit()
    seen_file.write_bytes(b"\n".join(seen))


task.react(main, sys.argv[1:])
