"""Fetches mail with Camel, the mail library of Evolution. Called by desktop.py as

    camel.py fetch|remove PORT cleartext|STLS|TLS USER CA-FILE DIRECTORY

with the password on standard input. DIRECTORY/seen holds the unique-ids fetched so far; a message
is stored as DIRECTORY/mail.N.
"""

import sys
from pathlib import Path

import gi

gi.require_version("Camel", "1.2")
from gi.repository import Camel, GLib  # noqa: E402

SECURITY = {
    "cleartext": Camel.NetworkSecurityMethod.NONE,
    "STLS": Camel.NetworkSecurityMethod.STARTTLS_ON_STANDARD_PORT,
    "TLS": Camel.NetworkSecurityMethod.SSL_ON_ALTERNATE_PORT,
}


class Session(Camel.Session):
    """What Evolution itself is to Camel: it knows the password and is asked about certificates."""

    def do_authenticate_sync(self, service, mechanism, cancellable):
        """Called by Camel to log in; Evolution would ask for the password again."""
        service.set_password(self.password)
        result = service.authenticate_sync(mechanism, cancellable)
        if result != Camel.AuthenticationResult.ACCEPTED:
            raise GLib.Error(f"authentication: {result.value_nick}")
        return True

    def do_trust_prompt(self, service, certificate, errors):
        """Called for a certificate of no known authority; the answer of "Accept Temporarily"."""
        return Camel.CertTrust.TEMPORARY


def main(task, port, transport, user, _, directory):
    """One check for mail."""
    Camel.init(directory, False)
    Camel.Provider.init()
    session = Session(user_data_dir=f"{directory}/data", user_cache_dir=f"{directory}/cache")
    session.password = sys.stdin.readline().rstrip("\n")
    session.set_online(True)
    store = account(session, port, transport, user)
    store.connect_sync(None)
    inbox = store.get_inbox_folder_sync(None)
    inbox.refresh_info_sync(None)
    seen_file = Path(directory, "seen")
    seen = set(seen_file.read_text().split()) if seen_file.exists() else set()
    for number, unique_id in enumerate(inbox.get_uids()):
        if unique_id not in seen:
            inbox.get_message_sync(unique_id, None)
            Path(directory, f"mail.{number}").write_bytes(cached(directory, unique_id))
            seen.add(unique_id)
        if task == "remove":
            inbox.set_message_flags(
                unique_id, Camel.MessageFlags.DELETED, Camel.MessageFlags.DELETED
            )
    inbox.synchronize_sync(task == "remove", None)
    store.disconnect_sync(True, None)
    seen_file.write_text("\n".join(seen))


def account(session, port, transport, user):
    """An account as Evolution makes it of its settings."""
    store = session.add_service("account", "pop", Camel.ProviderType.STORE)
    settings = store.ref_settings()
    settings.set_host("localhost")
    settings.set_port(int(port))
    settings.set_user(user)
    settings.set_security_method(SECURITY[transport])
    # Removal is what Evolution's own code asks of the folder, when its setting says so.
    settings.set_property("keep-on-server", False)
    return store


def cached(directory, unique_id):
    """The message as Camel keeps it, without the mark before it that it is whole."""
    [path] = Path(directory).glob(f"data/account/cache/*/{unique_id}")
    text = path.read_bytes()
    if not text.startswith(b"#"):
        sys.exit(f"{unique_id} was cut")
    return text[1:]


main(*sys.argv[1:])
