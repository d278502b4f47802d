"""Clients that set themselves up: python3 tests/live web PROGRAM [WORD…]

The documents over HTTPS with curl, and hostile requests; the set-up page in Chromium, at three widths,
in both languages, light and dark, with and without scripts; Thunderbird, which finds the settings of an
address by itself and logs in. With `--pictures DIRECTORY`, the pages are kept as PNG.
"""

import json
import plistlib
import signal
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Optional

from lib.corpus import ordinary
from lib.process import free_port, run
from lib.report import Report, require
from lib.server import TLS, Server
from lib.site import Site
from web.browser import Browser
from web.wizard import set_up

ADDRESS = "mrose@example.org"


class Web(Server):
    """A server that serves settings over HTTPS."""

    def __init__(self, site: Site) -> None:
        super().__init__(site, "web")
        self.web = free_port()
        self.more = f"""
[client-settings]
domains = ["example.org"]
display-name = "Example Mail"
[client-settings.pop3]
host = "localhost"
port = {self.ports[TLS]}
[client-settings.smtp]
host = "smtp.example.org"
[client-settings.imap]
host = "imap.example.org"
[web]
listen = "127.0.0.1:{self.web}"
"""

    def url(self, path: str) -> str:
        """The URL of a path."""
        return f"https://localhost:{self.web}{path}"

    def curl(self, path: str, *words: str, status: int = 200, may_close: bool = False) -> str:
        """The body of the answer to curl, which must have this status.

        With `may_close`, the server may also close the connection while curl still sends.
        """
        said = run(
            ["curl", "--silent", "--show-error", "--path-as-is", "--max-time", "20", "--cacert",
             self.site.certificate, "--write-out", "\n%{http_code}", *words, self.url(path)],
            codes=(0, 55, 56) if may_close else (0,),
        ).stdout
        body, _, code = said.rpartition("\n")
        if may_close and code == "000":
            return body
        require(code == str(status), f"{path}: {code} instead of {status}: {body[:300]!r}")
        return body


def documents(report: Report, server: Web) -> None:
    """Each document, read by a parser that is not ours."""

    def autoconfig() -> str:
        for path in ("/mail/config-v1.1.xml", "/.well-known/autoconfig/mail/config-v1.1.xml"):
            text = server.curl(f"{path}?emailaddress=mrose%40example.org")
            provider = ElementTree.fromstring(text)[0]
            kinds = [each.get("type") for each in provider if each.get("type")]
            require(kinds == ["pop3", "imap", "smtp"], f"{kinds}")
        return " ".join(str(kind) for kind in kinds)

    def autodiscover() -> str:
        request = f"<Autodiscover><Request><EMailAddress>{ADDRESS}</EMailAddress></Request></Autodiscover>"
        for path in ("/autodiscover/autodiscover.xml", "/AutoDiscover/AutoDiscover.xml"):
            text = server.curl(path, "--data-binary", request, "--header", "Content-Type: text/xml")
            types = [each.text for each in ElementTree.fromstring(text).iter() if each.tag.endswith("}Type")]
            require(types == ["POP3", "IMAP", "SMTP"], f"{types}")
        where = json.loads(server.curl("/autodiscover/autodiscover.json?Protocol=AutodiscoverV1"))
        require(where["Url"] == "https://localhost/autodiscover/autodiscover.xml", f"{where}")
        return " ".join(str(each) for each in types)

    def profile() -> str:
        text = server.curl("/mail.mobileconfig", "--data-urlencode", f"address={ADDRESS}")
        account = plistlib.loads(text.encode())["PayloadContent"][0]
        require(account["EmailAccountType"] == "EmailTypePOP", f"{account}")
        require(account["IncomingMailServerPortNumber"] == server.ports[TLS], f"{account}")
        return str(account["IncomingMailServerHostName"])

    def hostile() -> str:
        bomb = '<!DOCTYPE a [<!ENTITY a "aa"><!ENTITY b "&a;&a;">]><a>&b;</a>'
        said = server.curl("/autodiscover/autodiscover.xml", "--data-binary", bomb)
        require("<ErrorCode>600</ErrorCode>" in said, said)
        server.curl("/autodiscover/autodiscover.xml", "--data-binary", "a" * 100_000,
                    "--header", "Expect: 100-continue", status=413)
        server.curl("/", "--data-binary", "a" * 120_000, "--header", "Expect:", status=413,
                    may_close=True)
        server.curl("/", "--request", "DELETE", status=405)
        server.curl("/../../etc/passwd", status=404)
        server.curl("/", "--header", "Host:", status=400)
        server.curl("/", "--header", "X: " + "a" * 60_000, status=431, may_close=True)
        said = server.curl(
            "/autodiscover/autodiscover.json?Protocol=AutodiscoverV1", "--header", "Host: evil.example"
        )
        require("evil" not in said, said)
        with server.connect() as client:
            client.log_in(ADDRESS, server.site.accounts[ADDRESS].password)
            client.ok("QUIT")
        return "and POP3 serves"

    def silent() -> str:
        require("mrose%40" not in server.log.read_text(), "the log has the address of a query")
        return "no address in the log"

    report.check("autoconfig", autoconfig)
    report.check("autodiscover", autodiscover)
    report.check("profile of Apple's Mail", profile)
    report.check("what is asked is not in the log", silent)
    report.check("hostile requests", hostile)


def page(report: Report, server: Web, pictures: Optional[Path]) -> None:
    """The page as a person uses it."""

    def look(width: int, language: str, dark: bool, scripts: bool) -> str:
        with Browser(width, language, dark=dark, scripts=scripts) as browser:
            browser.open(server.url("/"))
            title = browser.text("h1")
            expected = {"en": "Set up your e-mail", "de": "E-Mail einrichten"}[language]
            require(title == expected, f"{title!r}")
            browser.type("#address", ADDRESS)
            browser.click("button.main")
            browser.click("button[value=apple]")
            # The page before has the other elements as well.
            browser.text("button[value=apple][aria-current]")
            require(browser.text("#user-0") == ADDRESS, browser.text("#user-0"))
            require(browser.text("#port-0") == str(server.ports[TLS]), browser.text("#port-0"))
            wide, high = browser.size()
            require(wide == width, f"it is {wide} px wide")
            if pictures is not None:
                look = f"{width}-{language}{'-dark' if dark else ''}{'' if scripts else '-plain'}"
                (pictures / f"{look}.png").write_bytes(browser.picture())
            small = browser.evaluate(
                "[...document.querySelectorAll('button:not([hidden]), input:not([type=hidden])')]"
                ".filter(it => it.offsetParent && it.getBoundingClientRect().height < 44).length"
            )
            require(small == 0, f"{small} controls are lower than 44 px")
            return f"{wide} x {high} px"

    def copies() -> str:
        with Browser(390, "en") as browser:
            browser.tell("Browser.grantPermissions", {
                "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"],
            })
            browser.open(server.url("/"))
            browser.type("#address", ADDRESS)
            browser.click("button.main")
            for key, value in (("server", "localhost"), ("user", ADDRESS)):
                browser.click(f"button[data-copy={key}-0]")
                got = browser.evaluate("navigator.clipboard.readText()")
                require(got == value, f"{got!r}")
                require(browser.text(f"button[data-copy={key}-0]") == "Copied", "nothing is said")
        return "server and user name"

    for width in (320, 390, 1280):
        for language in ("en", "de"):
            for dark in (False, True):
                name = f"page at {width} px, {language}, {'dark' if dark else 'light'}"
                report.check(
                    name, lambda w=width, l=language, d=dark: look(w, l, d, scripts=True)
                )
    report.check("page without scripts", lambda: look(390, "en", False, scripts=False))
    report.check("copy buttons", copies)


def main() -> int:
    """All checks against one server."""
    words = sys.argv[2:]
    pictures = None
    if "--pictures" in words:
        at = words.index("--pictures")
        pictures = Path(words[at + 1])
        del words[at:at + 2]
    report = Report(only=words)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    site = Site(Path(sys.argv[1]).resolve())
    try:
        account = site.account(ADDRESS, [ordinary(1)])
        server = Web(site)
        server.start()
        try:
            documents(report, server)
            page(report, server, pictures)
            report.check(
                "Thunderbird's wizard", lambda: set_up(site, server, server.web, account)
            )
        finally:
            server.stop()
    finally:
        site.close()
    return report.close()


if __name__ == "__main__":
    sys.exit(main())
