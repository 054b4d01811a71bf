"""Measures the identity service with many users: 100,000, in 10,000 projects, with 1,000,000 role assignments.

    ./pileus bench identity [--users N] [--json]

A cloud of its own is started in a temporary directory; the users are written into its database, ten assignments for each, of which one in
a hundred is a group's and one in a thousand is inherited from a domain. CPU is that of the control plane. Exit 1: a promise does not hold.
"""

import argparse
import json
import random
import sqlite3
import sys
import time
from pathlib import Path
from typing import Any

from bench.cloud import Cloud
from bench.load import Ask, Figure, measure
from pileus.api.identity import passwords
from pileus.cli.client import Api
from pileus.cli.settings import load

V3 = "/identity/v3"
ASSIGNMENTS = f"{V3}/role_assignments"
DOMAINS, PROJECTS_OF_USERS, ASSIGNMENTS_EACH = 10, 10, 10
EFFECTIVE_PROMISE = 5.0  # milliseconds
LINEAR = 1.5  # what a row of a long list may cost, as a multiple of one of a short list


class Population:
    """Who is there. Ids tell what they are of: u7, p7, g7, d7."""

    def __init__(self, users: int) -> None:
        self.users = users
        self.projects = max(10, users // 10)
        self.groups = max(10, users // 100)
        self.dice = random.Random(7)

    def write(self, database: Path) -> int:
        """Put it into a cloud's SQLite database; returns the number of assignments."""
        db = sqlite3.connect(database, timeout=60)
        now = time.time()
        one, hash_ = (now, now, 1), passwords.hash_now("none of these logs in")
        domains = [(f"d{n}", *one, f"domain {n}", "", None, 1, 1, "", "[]", "{}", "{}") for n in range(DOMAINS)]
        projects = [
            (f"p{n}", *one, f"project {n}", f"d{n % DOMAINS}", f"d{n % DOMAINS}", 0, 1, "", "[]", "{}", "{}") for n in range(self.projects)
        ]
        columns = "id, created_at, updated_at, generation, name, domain_id"
        marks = ", ".join("?" * 13)
        with db:
            db.executemany(
                f"INSERT INTO projects ({columns}, parent_id, is_domain, enabled, description, tags, options, extra) VALUES ({marks})",
                domains + projects,
            )
            db.executemany(
                f"INSERT INTO users ({columns}, enabled, password_hash, options, extra) VALUES (?, ?, ?, ?, ?, ?, 1, ?, '{{}}', '{{}}')",
                ((f"u{n}", *one, f"user {n}", f"d{n % DOMAINS}", hash_) for n in range(self.users)),
            )
            db.executemany(
                f"INSERT INTO user_groups ({columns}, description, extra) VALUES (?, ?, ?, ?, ?, ?, '', '{{}}')",
                ((f"g{n}", *one, f"group {n}", f"d{n % DOMAINS}") for n in range(self.groups)),
            )
            db.executemany("INSERT INTO group_members VALUES (?, ?)", ((f"g{n % self.groups}", f"u{n}") for n in range(self.users)))
            db.executemany("INSERT OR IGNORE INTO assignments VALUES (?, ?, ?, ?, ?, ?)", self._assignments(db))
            count: int = db.execute("SELECT count(*) FROM assignments").fetchone()[0]
        db.execute("ANALYZE")
        db.close()
        return count

    def _assignments(self, db: sqlite3.Connection) -> Any:
        roles = [row[0] for row in db.execute("SELECT id FROM roles WHERE name IN ('reader', 'member', 'manager') ORDER BY name")]
        for number in range(self.users * ASSIGNMENTS_EACH):
            user, role = number // ASSIGNMENTS_EACH, self.dice.choice(roles)
            if number % 1000 == 1:
                yield "user", f"u{user}", "domain", f"d{user % DOMAINS}", role, 1
            elif number % 100 == 0:
                yield "group", f"g{number // 100 % self.groups}", "project", f"p{self.dice.randrange(self.projects)}", role, 0
            else:
                yield "user", f"u{user}", "project", f"p{self.dice.randrange(self.projects)}", role, 0


def bench(users: int) -> tuple[dict[str, Figure | float], list[str]]:
    """The figures by name, and what does not hold."""
    found: dict[str, Figure | float] = {}

    def note(name: str, figure: Figure | float, unit: str = "ms CPU") -> float:
        found[name] = figure
        value = figure.cpu if isinstance(figure, Figure) else figure
        print(f"{name:<66} {value:>10.3f} {unit}", file=sys.stderr, flush=True)
        return value

    def ask(name: str, path: str | list[str]) -> float:
        asks = [Ask("GET", one) for one in ([path] * 20 if isinstance(path, str) else path)]
        return note(name, measure(cloud, asks, admin=True)[0])

    with Cloud(1) as cloud:
        people = Population(users)
        note("role assignments", float(people.write(cloud.state / "pileus.db")), "")
        some = [people.dice.randrange(users) for _ in range(30)]
        effective = ask("effective assignments of one user", [f"{ASSIGNMENTS}?effective&user.id=u{n}" for n in some])
        named = ask("the same with names", [f"{ASSIGNMENTS}?effective&include_names&user.id=u{n}" for n in some])
        inherited = ask(
            "effective assignments of a user with a role on a whole domain",
            [f"{ASSIGNMENTS}?effective&user.id=u{n * 100}" for n in range(3)],
        )
        ask("effective assignments on one project", [f"{ASSIGNMENTS}?effective&scope.project.id=p{n % people.projects}" for n in some])
        ask("one user's assignments as given", [f"{ASSIGNMENTS}?user.id=u{n}" for n in some])
        ask("one user by name", [f"{V3}/users?name=user%20{n}" for n in some])
        short = ask("100 users", f"{V3}/users?limit=100")
        ask("100 users, after a marker in the middle", f"{V3}/users?limit=100&marker=u{users // 2}")
        long = ask(f"all {users:,} users", [f"{V3}/users"] * 2)
        ask("100 projects", f"{V3}/projects?limit=100")
        ask(f"all {people.projects:,} projects", [f"{V3}/projects"] * 2)
        logins(cloud, note)
    wrong = [
        f"{what} of {users:,} take {value:.2f} ms, promised are {EFFECTIVE_PROMISE:g}"
        for what, value in (("effective assignments of one user", effective), ("the same with names", named))
        if value > EFFECTIVE_PROMISE
    ]
    if long / users > LINEAR * short / 100:
        wrong.append(f"a user costs {long / users * 1000:.0f} us in a list of {users:,}, {short * 10:.0f} us in one of 100")
    note("a user's row in the long list, as a multiple of the short one's", long / users / (short / 100), "")
    note("a role inherited by a thousandth of the projects, each", inherited / max(1, people.projects / DOMAINS) * 1000, "us CPU")
    return found, wrong


def logins(cloud: Cloud, note: Any) -> None:
    """What a login takes beyond its password's hash."""
    api = Api(load(cloud.state))
    user = {"name": "demo", "domain": {"id": "default"}, "password": api.password}
    scope = {"project": {"name": "demo", "domain": {"id": "default"}}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
    issue = note("issue a token by password", measure(cloud, [Ask("POST", f"{V3}/auth/tokens", body)] * 30)[0])
    kept = passwords.hash_now(api.password)
    best = min(cpu_of(lambda: passwords.HASHER.verify(kept, api.password)) for _ in range(20)) * 1000
    note("the hash alone", best)
    note("issuing, as a multiple of the hash", issue / best, "")


def cpu_of(work: Any) -> float:
    """Seconds of CPU of this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found, wrong = bench(asked.users)
    if asked.json:
        shown = {name: one if isinstance(one, float) else vars(one) for name, one in found.items()}
        print(json.dumps({"figures": shown, "wrong": wrong}, indent=2))
    for line in wrong:
        print(line, file=sys.stderr)
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()
