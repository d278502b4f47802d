"""A file system that keeps attributes in memory, while others deliver, rename and remove below it.

The server reads through mergerfs, and for ten seconds the system believes what that has said of a file
or a directory, and gives a file another number for each of its names. The others work on the
directories themselves, so that nothing tells it of a change. In each listing has to be, under its
unique-id, what stood still, and what was only renamed; a new message may come as late as attributes
are believed.
"""

import os
import threading
import time

from stalls.place import Mount, Place, Pop3, expect

USERS, STILL, RENAMED, BELIEVED, LATE = 4, 40, 20, 10, 5


def run(program, seconds=30):
    place = Place(program)
    place.make("source")
    boxes = [Box(place, number) for number in range(USERS)]
    options = f"cache.attr={BELIEVED},cache.entry={BELIEVED}"
    mount = Mount("mergerfs", place, "source", "cached", options)
    try:
        server = place.serve()
        end = time.monotonic() + seconds
        work = [part for box in boxes for part in (box.change, box.deliver)]
        threads = [threading.Thread(target=part, args=(end,)) for part in work]
        threads += [threading.Thread(target=box.poll, args=(server.port, end)) for box in boxes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        report(boxes)
        expect(server.stop() == 0, "it stops in order")
    finally:
        mount.remove()
        place.remove()


def report(boxes):
    for wrong in [wrong for box in boxes for wrong in box.wrong][:10]:
        print(wrong)
    listings = sum(box.listings for box in boxes)
    changes = sum(box.changes for box in boxes)
    delivered = sum(len(box.delivered) for box in boxes)
    partial = sum(len(box.wrong) for box in boxes)
    expect(partial == 0 and listings > 0,
           f"cached attributes: {listings} listings, each with {STILL + RENAMED} messages that had to "
           f"be there, {changes} renames and {delivered} deliveries meanwhile; wrong: {partial}")


class Box:
    """A Maildir, those who work on it, and a client that polls."""

    def __init__(self, place, number):
        self.user = f"c{number}"
        self.place = place
        self.root = f"source/{self.user}"
        place.maildir(self.root, 0)
        place.user(self.user, f"cached/{self.user}")
        for still in range(STILL):
            place.write(f"{self.root}/{('cur', 'new')[still % 2]}/{still}.still", "Subject: s\n\n")
        self.moving = {f"{moving}.moving": f"new/{moving}.moving" for moving in range(RENAMED)}
        for path in self.moving.values():
            place.write(f"{self.root}/{path}", "Subject: m\n\n")
        self.must = {f"{still}.still" for still in range(STILL)} | set(self.moving)
        self.delivered = {}
        self.changes = self.listings = 0
        self.wrong = []

    def path(self, name):
        return self.place.path(f"{self.root}/{name}")

    def change(self, end):
        """Renames, back and forth: flags, and between new and cur."""
        step = 0
        while time.monotonic() < end:
            for name, old in self.moving.items():
                step += 1
                path = f"new/{name}" if step % 7 == 0 else f"cur/{name}:2,{('', 'S', 'RS')[step % 3]}"
                os.rename(self.path(old), self.path(path))
                self.moving[name] = path
                self.changes += 1
                time.sleep(0.002)

    def deliver(self, end):
        """Puts a message into new each 20 milliseconds."""
        number = 0
        while time.monotonic() < end:
            number += 1
            name = f"{number}.delivered"
            self.place.write(f"{self.root}/tmp/{name}", "Subject: d\n\n")
            os.rename(self.path(f"tmp/{name}"), self.path(f"new/{name}"))
            self.delivered[name] = time.monotonic()
            time.sleep(0.02)

    def poll(self, port, end):
        """Looks at listings, and removes what was delivered when that is much."""
        removed = set()
        while time.monotonic() < end:
            begun = time.monotonic()
            client = Pop3(port)
            reply = client.log_in(self.user)
            if not reply.startswith("+OK "):
                self.wrong.append(f"{self.user}: {reply}")
                return
            client.send("UIDL")
            client.line()
            numbers = {uid: number for number, uid in map(str.split, client.body())}
            self.listings += 1
            known = {name for name, since in list(self.delivered.items())
                     if since + BELIEVED + LATE < begun}
            if missing := (self.must | known) - removed - set(numbers):
                self.wrong.append(f"{self.user}: {reply}: without {sorted(missing)[:5]}")
            if len(numbers) > 300:
                gone = [uid for uid in numbers if uid.endswith(".delivered")]
                for uid in gone:
                    client.ask(f"DELE {numbers[uid]}")
                removed.update(gone)
            reply = client.ask("QUIT")
            if not reply.startswith("+OK "):
                self.wrong.append(f"{self.user}: QUIT: {reply}")
            client.close()
