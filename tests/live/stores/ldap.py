"""OpenLDAP's slapd, by search and bind and by direct bind, with StartTLS and with ldaps."""

import base64
import hashlib
import secrets
from pathlib import Path
from typing import Sequence

from lib.process import CLIENT_USER, LOOPBACK, free_port, run
from lib.report import Failed
from lib.site import Site
from stores.app_passwords import made
from stores.backend import Daemon, Served, program

SUFFIX = "dc=example,dc=org"
PEOPLE = f"ou=people,{SUFFIX}"
READER, ADMIN = f"cn=reader,{SUFFIX}", f"cn=admin,{SUFFIX}"
OWNER = "openldap"

# The attributes of a user in the directory.
ATTRIBUTES = {
    "home": "homeDirectory", "mail": "mailMessageStore", "pop3": "pop3Allowed",
    "sessions": "pop3Sessions",
}

# The exit codes of ldapsearch and similar programs.
INVALID_CREDENTIALS = 49


class Slapd(Served):
    """The directory. With `direct`, Restante binds as a DN made of the user name, without a search."""

    attributes = frozenset(["home", "mail", "pop3", "sessions"])

    def __init__(
        self, site: Site, name: str = "slapd", tls: str = "starttls", direct: bool = False
    ) -> None:
        self.name = name
        super().__init__(site)
        self.tls = tls
        self.direct = direct
        self.has_app_passwords = not direct
        self.ports = {"ldap": free_port(), "ldaps": free_port()}
        self.data = self.root / "data"
        self.config = self.root / "slapd.conf"
        self.certificate = self.root / "server.pem"
        self.authority = self.root / "ca.pem"
        # Those of app passwords, by user and name.
        self.verifiers: dict[tuple[str, str], str] = {}
        self.passwords = {name: secrets.token_hex(12) for name in (READER, ADMIN)}
        if direct:
            # The search for the attributes needs no other bind: an entry may read itself.
            self.attributes = frozenset()
        listeners = " ".join(f"{each}://{LOOPBACK}:{port}/" for each, port in self.ports.items())
        self.daemon = Daemon(
            [program("slapd"), "-d", "0", "-f", self.config, "-h", listeners], OWNER, self.root
        )

    def start(self) -> None:
        if not self.data.exists():
            self._install()
        self.daemon.start(self._ready)

    def add(
        self, user: str, password: str, addresses: Sequence[str] = (), **attributes: object
    ) -> None:
        # An entry has a DN that the filter does not use, with all difficult characters, unless the
        # DN is made of the user name.
        named = ("uid", user) if self.direct else ("cn", f' #{user}, "quoted" + <more>; a\\b=c ')
        entry = {
            "objectClass": ["inetOrgPerson", "mailUser"],
            "uid": [user],
            "cn": [named[1] if named[0] == "cn" else user],
            "sn": [user],
            "userPassword": [salted(password)],
            "mail": list(addresses),
        }
        for key, value in attributes.items():
            # RFC 4517 §3.3.3: a boolean is TRUE or FALSE.
            entry[ATTRIBUTES[key]] = [str(value).upper() if value is False else str(value)]
        self._enter(f"{named[0]}={escaped(named[1])},{PEOPLE}", entry)

    def add_app_password(self, user: str, name: str) -> str:
        password, verifier = made(self.site)
        self._change(user, "add", f"{name}:{verifier}")
        self.verifiers[user, name] = verifier
        return password

    def remove_app_password(self, user: str, name: str) -> None:
        self._change(user, "delete", f"{name}:{self.verifiers[user, name]}")

    def _change(self, user: str, change: str, value: str) -> None:
        """Adds or deletes a value of the attribute for app passwords."""
        entry = escaped(f' #{user}, "quoted" + <more>; a\\b=c ')
        lines = [
            f"dn:: {encoded(f'cn={entry},{PEOPLE}')}", "changetype: modify",
            f"{change}: appPassword", f"appPassword:: {encoded(value)}", "",
        ]
        self._client("ldapmodify", ADMIN, self.passwords[ADMIN], 10, stdin="\n".join(lines))

    def admits(self, user: str, password: str) -> bool:
        if self.direct:
            return self._bind(f"uid={escaped(user)},{PEOPLE}", password)
        found = self._client(
            "ldapsearch", READER, self.passwords[READER], 2,
            "-LLL", "-o", "ldif-wrap=no", "-b", PEOPLE, f"(uid={filter_value(user)})", "1.1",
        )
        for line in found.splitlines():
            kind, _, name = line.partition(" ")
            if kind == "dn::":
                return self._bind(base64.b64decode(name).decode(), password)
            if kind == "dn:":
                return self._bind(name, password)
        return False

    def settings(self, directory: Path) -> str:
        lines = ["[[credentials]]", 'kind = "ldap"', f'url = "{self.url()}"']
        if self.tls == "starttls":
            lines.append("starttls = true")
        if self.tls != "off":
            lines.append(f'ca = "{self.authority}"')
        if self.direct:
            lines.append(f'dn = "uid={{user}},{PEOPLE}"')
        else:
            path = self.secret(directory / f"{self.name}-password", self.passwords[READER])
            lines += [
                f'bind-dn = "{READER}"',
                f'bind-password-file = "{path}"',
                f'base = "{PEOPLE}"',
                'filter = "(&(objectClass=inetOrgPerson)(uid={user}))"',
                *(f'{key}-attribute = "{name}"' for key, name in ATTRIBUTES.items()),
                'app-password-attribute = "appPassword"',
            ]
        return "\n".join([*lines, 'deadline = "2s"', ""])

    def url(self) -> str:
        """The address of the directory."""
        scheme = "ldaps" if self.tls == "ldaps" else "ldap"
        return f"{scheme}://{LOOPBACK}:{self.ports[scheme]}"

    def _install(self) -> None:
        self._certify()
        self.config.write_text(self._configuration())
        self.config.chmod(0o600)
        self.data.mkdir(mode=0o700)
        self.site.own(self.data, OWNER)
        self.site.own(self.config, OWNER)
        self.site.own(self.root / "server-key.pem", OWNER)
        entries = [
            (SUFFIX, {"objectClass": ["dcObject", "organization"], "o": ["Example"]}),
            (PEOPLE, {"objectClass": ["organizationalUnit"]}),
            (
                READER,
                {
                    "objectClass": ["organizationalRole", "simpleSecurityObject"],
                    "userPassword": [salted(self.passwords[READER])],
                },
            ),
        ]
        run(
            [program("slapadd"), "-q", "-f", self.config],
            stdin="\n".join(ldif(name, entry) for name, entry in entries), who=OWNER,
        )

    def _configuration(self) -> str:
        schemas = "\n".join(
            f"include /etc/ldap/schema/{each}.schema"
            for each in ("core", "cosine", "nis", "inetorgperson")
        )
        return f"""\
{schemas}
attributetype ( 1.3.6.1.4.1.7914.1.2.1.3 NAME 'mailMessageStore'
    EQUALITY caseExactIA5Match SYNTAX 1.3.6.1.4.1.1466.115.121.1.26 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.7914.1.2.1.4 NAME 'pop3Allowed'
    EQUALITY booleanMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.7 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.7914.1.2.1.5 NAME 'pop3Sessions'
    EQUALITY integerMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.27 SINGLE-VALUE )
attributetype ( 1.3.6.1.4.1.4203.666.1.1 NAME 'appPassword'
    EQUALITY caseExactMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 )
objectclass ( 1.3.6.1.4.1.7914.1.2.2.1 NAME 'mailUser' AUXILIARY
    MAY ( homeDirectory $ mailMessageStore $ pop3Allowed $ pop3Sessions $ appPassword ) )
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile {self.certificate}
TLSCertificateKeyFile {self.root}/server-key.pem
# No password without TLS, even on loopback: TLS is to be tested.
security {"simple_bind=0" if self.tls == "off" else "simple_bind=128"}
database mdb
maxsize 16777216
suffix "{SUFFIX}"
rootdn "{ADMIN}"
rootpw {salted(self.passwords[ADMIN])}
directory {self.data}
index objectClass,uid,mail eq
access to attrs=userPassword by anonymous auth by * none
access to attrs=appPassword by dn.exact="{READER}" read by * none
access to * by dn.exact="{READER}" read by self read by * none
"""

    def _certify(self) -> None:
        """A certificate authority, and its certificate for the address of the server."""
        run(
            [
                "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                "-subj", "/CN=Authority of the directory",
                "-addext", "basicConstraints=critical,CA:TRUE",
                "-keyout", self.root / "ca-key.pem", "-out", self.authority,
            ],
            who=None,
        )
        run(
            [
                "openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30",
                "-CA", self.authority, "-CAkey", self.root / "ca-key.pem", "-subj", "/CN=directory",
                "-addext", "basicConstraints=critical,CA:FALSE",
                "-addext", f"subjectAltName=IP:{LOOPBACK},DNS:localhost",
                "-keyout", self.root / "server-key.pem", "-out", self.certificate,
            ],
            who=None,
        )

    def _ready(self) -> bool:
        try:
            return self._bind(READER, self.passwords[READER])
        except Failed:
            return False

    def _bind(self, name: str, password: str) -> bool:
        """Whether the directory accepts this password for this entry."""
        said = self._client("ldapwhoami", name, password, 2, codes=(0, INVALID_CREDENTIALS))
        return said.startswith("dn:")

    def _enter(self, name: str, entry: dict[str, list[str]]) -> None:
        self._client("ldapadd", ADMIN, self.passwords[ADMIN], 10, stdin=ldif(name, entry))

    def _client(
        self, command: str, name: str, password: str, timeout: float, *words: str,
        stdin: str = "", codes: tuple[int, ...] = (0,),
    ) -> str:
        path = self.root / "client-password"
        path.touch(mode=0o600)
        path.write_text(password)
        self.site.own(path, CLIENT_USER)
        return run(
            [
                "env", f"LDAPTLS_CACERT={self.authority}", command, "-x", "-H", self.url(),
                *(["-ZZ"] if self.tls == "starttls" else []), "-D", name, "-y", path, *words,
            ],
            stdin=stdin, codes=codes, timeout=timeout,
        ).stdout


def ldif(name: str, entry: dict[str, list[str]]) -> str:
    """An entry with every value in base64, because only that can encode all of them."""
    lines = [f"dn:: {encoded(name)}"]
    lines += [f"{key}:: {encoded(value)}" for key, values in entry.items() for value in values]
    return "\n".join([*lines, "", ""])


def encoded(text: str) -> str:
    """A value in base64."""
    return base64.b64encode(text.encode()).decode()


def salted(password: str) -> str:
    """A verifier that slapd supports without a module."""
    salt = secrets.token_bytes(8)
    digest = hashlib.sha1(password.encode() + salt).digest()
    return "{SSHA}" + base64.b64encode(digest + salt).decode()


def escaped(value: str) -> str:
    """A value in a distinguished name (RFC 4514 §2.4), with special characters as hex digits."""
    return "".join(
        chr(octet) if chr(octet).isalnum() and octet < 128 else f"\\{octet:02x}"
        for octet in value.encode()
    )


def filter_value(value: str) -> str:
    """A value in a filter (RFC 4515 §3)."""
    return escaped(value)
