"""Metrics with a real Prometheus: python3 tests/live metrics PROGRAM

Clients log in, fail to, and fetch and remove mail; then Prometheus is asked for the series that it
has scraped. Its tools check the page, the alerts and the queries of the dashboard. PROGRAM needs the
feature `metrics`.
"""

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from lib.corpus import ordinary
from lib.process import LOOPBACK, free_port, run, until
from lib.report import Report, require
from lib.server import STLS, TLS, Server
from lib.site import Site

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "config/prometheus/restante.rules.yml"
MESSAGES = 3


class Prometheus:
    """A Prometheus that scrapes one server each second."""

    def __init__(self, directory: Path, target: int) -> None:
        self.port = free_port()
        configuration = directory / "prometheus.yml"
        configuration.write_text(
            "global: { scrape_interval: 1s, evaluation_interval: 1s }\n"
            f"rule_files: [{RULES}]\n"
            "scrape_configs:\n"
            "  - job_name: restante\n"
            f'    static_configs: [{{ targets: ["{LOOPBACK}:{target}"] }}]\n'
        )
        with (directory / "prometheus.log").open("wb") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus", f"--config.file={configuration}",
                    f"--storage.tsdb.path={directory}/data",
                    f"--web.listen-address={LOOPBACK}:{self.port}",
                ],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )

    def close(self) -> None:
        """Ends it."""
        self.process.terminate()
        self.process.wait(20)

    def ask(self, path: str, **query: str) -> Any:
        """The data of an answer of its API."""
        url = f"http://{LOOPBACK}:{self.port}/api/v1/{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=20) as answer:
            return json.load(answer)["data"]

    def value(self, query: str) -> float:
        """The sum of the series that a query selects, at this time."""
        return sum(float(each["value"][1]) for each in self.ask("query", query=query)["result"])


def main() -> int:
    """All checks."""
    report = Report(only=sys.argv[2:])
    site = Site(Path(sys.argv[1]).resolve())
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    port = free_port()
    server = Server(site, "metrics")
    server.more = f'[metrics]\nlisten = "{LOOPBACK}:{port}"\n'
    with ExitStack() as ends:
        ends.callback(site.close)
        ends.callback(server.kill)
        server.start()
        prometheus = Prometheus(site.root, port)
        ends.callback(prometheus.close)
        report.check("alerts", alerts)
        report.check("page", lambda: page(port))
        report.check("values", lambda: values(site, server, port, prometheus))
        report.check("dashboard", lambda: dashboard(prometheus))
        report.check("health", lambda: health(server, port, prometheus))
    return report.close()


def alerts() -> str:
    """The rules are valid, and each fires when it should."""
    run(["promtool", "check", "rules", RULES], who=None)
    tests = ROOT / "tests/alerts/restante.test.yml"
    run(["promtool", "test", "rules", tests], who=None, home=tests.parent)
    return f"{RULES.read_text().count('- alert:')} alerts"


def page(port: int) -> str:
    """The text format has no fault that promtool finds; OpenMetrics ends with its mark."""
    text = get(port, "/metrics")[1]
    run(["promtool", "check", "metrics"], stdin=text, who=None)
    series = text.count("# TYPE ")
    text = get(port, "/metrics", Accept="application/openmetrics-text;version=1.0.0")[1]
    require(text.endswith("# EOF\n"), "OpenMetrics does not end with # EOF")
    return f"{series} series"


def values(site: Site, server: Server, port: int, prometheus: Prometheus) -> str:
    """The series count what clients have done."""
    account = site.account("mrose", [ordinary(number) for number in range(MESSAGES)])
    octets = 0
    for transport in (TLS, STLS):
        with server.connect(transport) as client:
            client.log_in(account.user, account.password)
            for number in range(1, MESSAGES + 1):
                octets += int(client.ask(f"LIST {number}").split()[-1])
                client.lines(f"RETR {number}")
            if transport == STLS:
                client.ok("DELE 1")
            client.ok("QUIT")
    for name in (account.user, "nobody"):
        said = server.login(name, "wrong")
        require(said.startswith("-ERR"), f"a wrong password got {said!r}")
    expected = {
        'restante_logins_total{outcome="succeeded",mechanism="USER"}': 2,
        'restante_logins_total{outcome="wrong-password"}': 2,
        "restante_login_duration_seconds_count": 2,
        "restante_retr_duration_seconds_count": 2 * MESSAGES,
        "restante_messages_retrieved_total": 2 * MESSAGES,
        "restante_retrieved_bytes_total": octets,
        # The second session fetches what the first one has fetched.
        "restante_messages_retrieved_again_total": MESSAGES,
        "restante_messages_removed_total": 1,
        "restante_messages_not_removed_total": 0,
        "restante_connections_accepted_total": 4,
        'restante_sessions_ended_total{why="quit"}': 2,
        "restante_connections": 0,
        "restante_store_up": 1,
    }
    wrong: dict[str, float] = {}

    def agrees() -> bool:
        wrong.clear()
        found = {query: prometheus.value(query) for query in expected}
        wrong.update({query: it for query, it in found.items() if it != expected[query]})
        return not wrong

    until(agrees, 20, lambda: wrong)
    days = (prometheus.value("restante_certificate_expiry_seconds - time()")) / 86_400
    require(29 < days <= 30, f"the certificate ends in {days} days")
    lines = get(port, "/metrics")[1].splitlines()
    told = [line for line in lines if account.user in line or LOOPBACK in line]
    require(not told, f"users or addresses in the page: {told}")
    return f"{len(expected)} series"


def dashboard(prometheus: Prometheus) -> str:
    """Prometheus understands each query of the dashboard, and the server has each series in it."""
    text = (ROOT / "config/grafana/restante.json").read_text()
    queries = re.findall(r'"expr": ("(?:[^"\\]|\\.)*")', text)
    require(len(queries) > 10, "the dashboard has few queries")
    known = set(prometheus.ask("label/__name__/values"))
    for query in map(json.loads, queries):
        query = re.sub(r"\$__(rate_)?interval|\$__range", "1m", query)
        query = re.sub(r"\$\{?[a-z_]+(:[a-z]+)?\}?", ".*", query)
        prometheus.ask("query", query=query)
        for name in re.findall(r"\b(?:restante|process)_[a-z_]+\b", query):
            base = re.sub(r"_(bucket|sum|count|total)$", "", name)
            seen = any(each.startswith(base) for each in known)
            # These stores are on other machines, and these logins have not happened here.
            require(seen or "_store_" in name, f"the server has no {name}")
    return f"{len(queries)} queries"


def health(server: Server, port: int, prometheus: Prometheus) -> str:
    """The pages of health, while it serves, without its mail, and after it has stopped."""
    for path in ("/healthz", "/readyz"):
        said = get(port, path)
        require(said == (200, "ok\n"), f"{path}: {said}")
    mail = server.site.root / "mail"
    mail.rename(mail.with_name("away"))
    status, why = get(port, "/readyz")
    require(status == 503 and str(mail) in why, f"without its mail: {status} {why!r}")
    require(get(port, "/healthz")[0] == 200, "it is healthy without its mail")
    mail.with_name("away").rename(mail)
    require(get(port, "/readyz")[0] == 200, "not ready with its mail")
    moved = mail / "moved"
    moved.mkdir()
    configuration = server.config().read_text()
    server.config().write_text(configuration.replace("/mail/", "/mail/moved/"))
    server.process.send_signal(signal.SIGHUP)
    reloaded = "the configuration is in use"
    until(lambda: reloaded in server.log.read_text(), 20, server.log.read_text)
    moved.rmdir()
    status, why = get(port, "/readyz")
    require(status == 503 and str(moved) in why, f"without its mail after a reload: {why!r}")
    server.stop()
    until(lambda: prometheus.value('1 - up{job="restante"}') == 1, 20)
    pending = 'ALERTS{alertname="RestanteDown"}'
    until(lambda: prometheus.value(pending) == 1, 20)
    return "ready, without its mail, and stopped"


def get(port: int, path: str, **headers: str) -> tuple[int, str]:
    """The status and the body of a page."""
    request = urllib.request.Request(f"http://{LOOPBACK}:{port}{path}", headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


if __name__ == "__main__":
    sys.exit(main())
