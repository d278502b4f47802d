"""Clients whose line breaks: for how long does the maildrop stay locked?

Server and clients are in network namespaces of their own, with a cable between them (veth). The
clients' end is taken down in the middle of what they do; nobody says a word to the server. Its own
loopback asks from then on whether their maildrops are free.
"""

import ctypes
import os
import re
import subprocess
import threading
import time

from stalls.place import Place, Pop3, expect

WRITE, SILENCE, PROBE, LOOK = 10, 120, 15, 5
CLONE_NEWNET = 0x40000000


def run(program):
    place = Place(program)
    place.make("mail")
    for user, size in (("idle", 0), ("marked", 0), ("reading", 8 << 20), ("sent", 100 << 10)):
        place.maildir(f"mail/{user}", 1, text=("x" * 98 + "\n") * (size // 99 + 1))
        place.user(user, f"mail/{user}")
    network = Network()
    server = None
    try:
        server = place.serve(f'write = "{WRITE}s"\n', "0.0.0.0:0", network.within_server())
        clients = network.from_client(lambda: connect(server.port))
        network.cut()
        free_again(server, network)
        del clients
        expect(server.stop() == 0, "it stops in order")
    finally:
        if server and server.process.poll() is None:
            server.process.kill()
        network.remove()
        place.remove()


def connect(port):
    """Four clients, each in the middle of something."""
    clients = {}
    for user in ("idle", "marked", "reading", "sent"):
        clients[user] = client = Pop3(port, host=Network.SERVER, room=4096)
        reply = client.log_in(user)
        assert reply.startswith("+OK 1 "), reply
    assert clients["marked"].ask("DELE 1").startswith("+OK ")
    # Much more than the systems between hold, and less than that.
    for user in ("reading", "sent"):
        clients[user].send("RETR 1")
        assert clients[user].line().startswith("+OK ")
    return clients


def free_again(server, network):
    cut = time.monotonic()
    most = {"reading": WRITE + LOOK, "sent": WRITE + LOOK,
            "idle": SILENCE + PROBE, "marked": SILENCE + PROBE}
    for user, seconds in most.items():
        while not re.search(f"session ended user={user} .*", server.text()):
            if time.monotonic() - cut > seconds + 10:
                break
            time.sleep(0.2)
        took = time.monotonic() - cut
        reply = network.from_server(lambda: log_in_and_leave(server.port, user))
        ended = re.search(f"session ended user={user} .*?why=(.*)", server.text())
        expect(reply.startswith("+OK 1 ") and took < seconds + 3,
               f"the line of a client breaks, {user}: free after {took:.1f} s, "
               f"{ended and ended[1]} ({reply})")


def log_in_and_leave(port, user):
    client = Pop3(port)
    reply = client.log_in(user)
    client.ask("QUIT")
    client.close()
    return reply


class Network:
    """Two namespaces and a cable."""

    SERVER, CLIENT = "198.51.100.1", "198.51.100.2"

    def __init__(self):
        self.names = [f"stalls-{end}-{os.getpid()}" for end in ("server", "client")]
        try:
            for name in self.names:
                ip("netns", "add", name)
            server, client = self.names
            ip("-n", server, "link", "add", "cable", "type", "veth", "peer", "name", "cable",
               "netns", client)
            for name, address in ((server, self.SERVER), (client, self.CLIENT)):
                ip("-n", name, "address", "add", f"{address}/24", "dev", "cable")
                ip("-n", name, "link", "set", "cable", "up")
                ip("-n", name, "link", "set", "lo", "up")
        except BaseException:
            self.remove()
            raise

    def within_server(self):
        return ["ip", "netns", "exec", self.names[0]]

    def from_server(self, work):
        return self._within(self.names[0], work)

    def from_client(self, work):
        return self._within(self.names[1], work)

    def cut(self):
        ip("-n", self.names[1], "link", "set", "cable", "down")

    def remove(self):
        for name in self.names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)

    @staticmethod
    def _within(name, work):
        """What `work` gives: done by a thread in this namespace, where its sockets then belong."""
        result = []

        def enter():
            with open(f"/run/netns/{name}") as namespace:
                libc = ctypes.CDLL(None, use_errno=True)
                if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            result.append(work())

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return result[0]


def ip(*words):
    subprocess.run(["ip", *words], check=True)
