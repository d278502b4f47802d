"""App passwords of a user of a store, with real clients."""

from lib.pop3 import WRONG
from lib.process import run, until
from lib.report import require
from lib.server import STLS, Restante
from lib.site import Account, Site
from stores.backend import Backend
from stores.mechanisms import LOGIN, PLAIN, USER, Attempt, Curl, Mpop

# The most that a user can have, so that the checks of times after this one have their cost.
MOST = 25


def work(site: Site, server: Restante, backend: Backend, account: Account) -> str:
    """Two clients log in with two of many app passwords, and one that was removed is refused."""
    passwords = {}
    for number in range(MOST):
        name = f"device-{number}"
        passwords[name] = backend.add_app_password(account.user, name)
    for client, name, mechanism in (
        (Curl(site), "device-0", PLAIN), (Curl(site), "device-0", LOGIN),
        (Mpop(site), f"device-{MOST - 1}", USER), (Mpop(site), f"device-{MOST - 1}", PLAIN),
    ):
        endpoint = server.endpoint(STLS)
        client.log_in(Attempt(endpoint, account.user, passwords[name], mechanism))
        shown = f"login succeeded user={account.user} app_password={name} mechanism={mechanism} "
        # The log is written a moment after the reply.
        until(lambda: shown in server.log.read_text(errors="replace"), 5)
    server.must_admit(account)
    said = run(
        [site.program, "user", "test", "--stdin", account.user, "--config", server.config()],
        stdin=passwords["device-1"] + "\n", who=None,
    ).stdout
    require("app password device-1" in said, f"user test does not name it: {said}")
    backend.remove_app_password(account.user, "device-2")
    said = server.login(account.user, passwords["device-2"])
    require(said.startswith(WRONG), f"after its removal, it got {said!r}")
    backend.add_app_password(account.user, "device-2")
    log = server.log.read_text(errors="replace")
    require(not any(each in log for each in passwords.values()), "one is in the log")
    return f"{MOST} of one user"


def made(site: Site) -> tuple[str, str]:
    """A new app password, and its hash for a database."""
    said = run([site.program, "hash", "--app-password"], who=None)
    return said.stderr.strip().removeprefix("App password: "), said.stdout.strip()
