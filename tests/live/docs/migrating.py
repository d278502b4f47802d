"""The old servers of docs/MIGRATING.md, and whether its commands have kept the unique-ids.

One user is moved from Dovecot to Restante in every way that the page has, and back to Dovecot and
Courier. `Moves.before` and `Moves.after` know the blocks by their first command.
"""

import re
from typing import Callable

from lib.debian import MAILBOX, Debian, Failed
from lib.pages import Block

PAGE = "docs/MIGRATING.md"

# They are downloaded; the second are only unpacked, because the two servers exclude each other.
DOVECOT = "--no-install-recommends dovecot-imapd dovecot-pop3d"
COURIER = "courier-authlib courier-pop libcourier-unicode4 libidn12"

USER = "mrose@example.org"
MESSAGES = 6

# Restante has the same users, and the certificate is for the names of both machines.
SET_UP = f"""
set -e
apt-get -q -y install {DOVECOT}
sed -i 's/^!include auth-system/#&/' /etc/dovecot/conf.d/10-auth.conf
cat > /etc/dovecot/conf.d/99-old.conf <<'EOF'
ssl_cert = </etc/restante/tls/fullchain.pem
ssl_key = </etc/restante/tls/privkey.pem
passdb {{
  driver = passwd-file
  args = /etc/restante/users
}}
userdb {{
  driver = static
  args = uid=vmail gid=vmail home=/var/vmail/%d/%n
}}
first_valid_uid = 1
log_path = /var/log/dovecot.log
EOF
echo '{USER}:{{PLAIN}}tanstaaf' > /etc/restante/users
chown vmail:dovecot /etc/restante/users
chmod 640 /etc/restante/users
cd /etc/restante/tls
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 90 -keyout privkey.pem \\
    -out fullchain.pem -subj /CN=old.example.org -addext basicConstraints=critical,CA:FALSE \\
    -addext subjectAltName=DNS:pop.example.org,DNS:old.example.org,DNS:localhost
chown vmail: privkey.pem
echo '127.0.0.1 localhost old.example.org' >> /etc/hosts
install fullchain.pem /usr/local/share/ca-certificates/old.crt
update-ca-certificates
printf '{USER}\\ttanstaaf\\n' > /root/restante/old-users
"""

# Courier's pop3d, for the owner of the mail.
POP3D = f"""cd /var/vmail; printf 'UIDL\\r\\nQUIT\\r\\n' | AUTHENTICATED={USER} \\
    LD_LIBRARY_PATH=/opt/usr/lib:/opt/usr/lib/$(uname -m)-linux-gnu \\
    setpriv --reuid=vmail --regid=vmail --clear-groups \\
    /opt/usr/lib/courier/courier/courierpop3d {MAILBOX}
"""

# It has ended when its file is gone.
STOP = "doveadm stop; while [ -e /run/dovecot/master.pid ]; do sleep 0.1; done"

ASK = f"curl -s --user {USER}:tanstaaf pop3s://localhost/ -X UIDL"
AUDIT = "cd /root/restante; restante migrate audit --old pop3s://localhost --users old-users"
OLD_MAIL = "maildir:/srv/old/%d/%n/Maildir"


class Moves:
    """The moves of the page, in its order."""

    def __init__(
        self, debian: Debian, configure: Callable[[str], None], section: Callable[[str], str]
    ) -> None:
        """`section` is the ```toml of a heading."""
        self.debian, self.configure, self.section = debian, configure, section
        self.listing: list[str] = []

    def before(self, block: Block) -> None:
        """Provides the old server and its mail."""
        steps = {
            "doveconf -n > dovecot.txt": self.served_by_dovecot,
            "mkdir -p /etc/restante/uidl": self.copied,
            f"doveadm backup -u {USER}": self.in_mdbox,
            "systemctl stop restante": self.without_lists,
            "restante migrate export --format courier": self.served_by_courier,
        }
        self._step(steps, block)

    def after(self, block: Block, said: str) -> None:
        """Configures the server as the page says, and compares the unique-ids."""
        steps = {
            "doveconf -n > dovecot.txt": lambda: self.configure(said[said.index("[maildir]"):]),
            "restante migrate apply --all": self.serves,
            "restante migrate audit --old pop3s://old.example.org": self.serves_a_copy,
            f"doveadm backup -u {USER}": self.was_converted,
            "systemctl stop restante": self.is_dovecot_s_again,
            "restante migrate export --format courier": self.is_courier_s_again,
        }
        self._step(steps, block)

    def _step(self, steps: dict[str, Callable[[], None]], block: Block) -> None:
        for beginning, step in steps.items():
            if block.text.startswith(beginning):
                step()

    def served_by_dovecot(self) -> None:
        """A user of Dovecot, which has listed the mail."""
        self.debian.stop()
        self.debian.quietly(SET_UP)
        self.deliver()
        self.dovecot("maildir:/var/vmail/%d/%n/Maildir")
        self.listing = self.ask()

    def copied(self) -> None:
        """The old server has the mail elsewhere, and each message has another name here."""
        self.debian.quietly(f"""
            install -d -o vmail -g vmail /srv/old/example.org/mrose
            mv {MAILBOX} /srv/old/example.org/mrose/
            cd /srv/old/example.org/mrose/Maildir
            rm restante.*
            setpriv --reuid=vmail --regid=vmail --clear-groups mkdir -p {MAILBOX}/cur {MAILBOX}/new {MAILBOX}/tmp
            for file in cur/*; do
                install -o vmail -g vmail -m 600 "$file" "{MAILBOX}/new/$(basename "$file" | cut -d. -f1).copy"
            done
            rm -f /etc/dovecot/local.conf
        """)
        self.dovecot(OLD_MAIL)
        self.configure(self.section("From any server, with a copy over IMAP or POP3"))

    def in_mdbox(self) -> None:
        """The same mail in a format of Dovecot that Restante cannot read."""
        old = OLD_MAIL.replace("%d/%n", "example.org/mrose")
        self.dovecot("mdbox:/var/vmail/%d/%n/mdbox")
        self.debian.quietly(f"doveadm backup -R -u {USER} {old}:LAYOUT=fs; rm -r {MAILBOX}")
        if self.ask() != self.listing:
            raise Failed("mdbox has other unique-ids")

    def was_converted(self) -> None:
        """Restante lists what Dovecot lists."""
        self.configure(
            '[maildir]\npath = "/var/vmail/{domain}/{local}/Maildir"\n'
            'uidl = ["dovecot", "base-name"]\n[maildir.dovecot]\n'
        )
        self.debian.type(AUDIT)

    def without_lists(self) -> None:
        """Restante has served the mail, and Dovecot's lists are lost."""
        self.debian.quietly(f"restante migrate apply --all; rm {MAILBOX}/dovecot*")

    def is_dovecot_s_again(self) -> None:
        """Dovecot lists what Restante has listed."""
        self.dovecot("maildir:/var/vmail/%d/%n/Maildir")
        self.debian.type(AUDIT)
        self.expect(self.ask())

    def served_by_courier(self) -> None:
        """A user of Courier, who was moved to Restante."""
        self.debian.quietly(f"{STOP}; rm -r {MAILBOX}")
        self.deliver()
        self.listing = self.ask(POP3D)
        self.configure(self.section("From Courier, in place"))
        self.debian.quietly(f"restante migrate apply --all; rm {MAILBOX}/courierpop3dsizelist")

    def is_courier_s_again(self) -> None:
        """Courier lists what Restante has listed."""
        self.expect(self.ask(POP3D))

    def serves_a_copy(self) -> None:
        """The old server is on another machine, with ports of its own."""
        self.debian.quietly(STOP)
        self.serves()

    def serves(self) -> None:
        """Restante lists what Dovecot has listed. Dovecot's IMAP server goes on."""
        self.debian.serve()
        self.expect(self.ask())
        self.debian.stop()

    def expect(self, listing: list[str]) -> None:
        """The unique-ids are those that the old server has listed."""
        if listing != self.listing:
            raise Failed(f"unique-ids: {listing}, not {self.listing}")
        print("the unique-ids are the same", flush=True)

    def ask(self, command: str = ASK) -> list[str]:
        """The unique-ids of the server that is running."""
        said = self.debian.type(command)
        listing = re.findall(r"^\d+ \S+", said, re.MULTILINE)
        if len(listing) != MESSAGES:
            raise Failed(f"no unique-ids: {said}")
        return listing

    def dovecot(self, location: str) -> None:
        """Starts Dovecot with the mail there."""
        self.debian.quietly(f"""
            {STOP}
            echo 'mail_location = {location}' > /etc/dovecot/conf.d/99-mail.conf
            dovecot > /dev/null 2>&1
        """)

    def deliver(self) -> None:
        """New mail in a new Maildir."""
        self.debian.quietly(f"""
            rm -rf {MAILBOX}
            as="setpriv --reuid=vmail --regid=vmail --clear-groups"
            $as mkdir -p {MAILBOX}/cur {MAILBOX}/new {MAILBOX}/tmp
            for number in $(seq {MESSAGES}); do
                printf "Subject: message $number\\nMessage-ID: <$number@example.org>\\n\\nHello.\\n" |
                    $as tee {MAILBOX}/new/170000000$number.M$number.mx1 > /dev/null
            done
        """)
