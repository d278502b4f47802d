"""Dovecot 2.4 of Debian 13, and its spelling of the formats."""

from typing import Iterable

from continuity.old import DELETED_FLAG, RENAME, XUIDL, Dovecot23, Format, of_template
from lib.uninstalled import Guest
from lib.process import LOOPBACK, SERVER_USER
from lib.site import Account, Site

FORMATS = (
    Format("default"),
    *map(of_template, (
        "%{filename}", "%{guid}", "%{uidvalidity}-%{uid}", "%{filename | md5 | hexlify}",
        "UID%{uid}-%{uidvalidity}",
    )),
    Format(
        "%{guid}, renamed", ("pop3_uidl_format = %{guid}", RENAME[0]),
        f'format = "%{{guid}}"\n{RENAME[1]}',
    ),
    Format("X-UIDL", (XUIDL[0],), XUIDL[1]),
    Format("lists elsewhere", is_elsewhere=True),
    Format("deleted-flag", *DELETED_FLAG),
    Format("saved", before=("pop3_save_uidl = yes", "pop3_uidl_format = %{filename}")),
)


class Dovecot24(Dovecot23):
    """Dovecot 2.4, in the guest."""

    def __init__(
        self, guest: Guest, site: Site, name: str, accounts: Iterable[Account], *settings: str,
        control: str = "",
    ) -> None:
        super().__init__(site, name, accounts, *settings)
        self.guest = guest
        if control:
            self.settings += (f"mail_control_path = {control}/%{{user}}",)

    def command(self, *words: str) -> list[str]:
        return self.guest.command(*words)

    def configuration(self) -> str:
        root = self.root
        return f"""\
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
base_dir = {root}/run
state_dir = {root}/state
log_path = {root}/log
listen = {LOOPBACK}
ssl = no
auth_allow_cleartext = yes
auth_mechanisms = plain
first_valid_uid = 1
first_valid_gid = 1
mail_driver = maildir
mail_path = {self.site.root}/mail/%{{user}}/Maildir
mail_max_userip_connections = 0
protocols {{
  pop3 = yes
  imap = yes
}}
passdb passwd-file {{
  passwd_file_path = {root}/users
}}
userdb static {{
  fields {{
    uid = {SERVER_USER}
    gid = {SERVER_USER}
    home = {self.site.root}/mail/%{{user}}
  }}
}}
namespace inbox {{
  inbox = yes
}}
{self.listeners()}""" + "".join(f"{line}\n" for line in self.settings)
