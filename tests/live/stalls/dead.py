"""The mail of 160 users is on a file system that does not answer: others do not notice.

The process behind their mount is stopped (SIGSTOP). Users whose mail is elsewhere log in with
argon2id, fetch and remove meanwhile. Users of the dead file system are told [SYS/TEMP] or [IN-USE],
and nothing that was refused is done later. Then a server with a removal that hangs is told to stop,
and has to end.
"""

import os
import re
import subprocess
import threading
import time

from stalls.place import PASSWORD, Mount, Place, Pop3, expect

DEAD, HEALTHY, SLOWEST = 160, 4, 3.0


def at_once(count, work):
    threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return threads


def healthy_users(server, seconds):
    """Logs in, fetches and removes for so long; gives how long each session took."""
    times, end = [], time.monotonic() + seconds
    number = 0
    while time.monotonic() < end:
        begun = time.monotonic()
        client = Pop3(server.port)
        assert client.log_in(f"h{number % HEALTHY}").startswith("+OK ")
        assert client.ask("RETR 1").startswith("+OK ")
        client.body()
        client.ask("DELE 1")
        reply = client.ask("QUIT")
        assert reply.startswith("+OK 1 message removed"), (reply, server.text())
        times.append(time.monotonic() - begun)
        number += 1
    return sorted(times)


def run(program):
    place = Place(program)
    hashed = subprocess.run([program, "hash", "--stdin"], input=f"{PASSWORD}\n".encode(),
                            capture_output=True, check=True).stdout.decode().strip()
    for folder in ("healthy", "store"):
        place.make(folder)
    for number in range(HEALTHY):
        place.maildir(f"healthy/h{number}", 400)
        place.user(f"h{number}", f"healthy/h{number}", hashed)
    for number in range(DEAD):
        place.maildir(f"store/d{number}", 3)
        place.user(f"d{number}", f"dead/d{number}")
    # Each request goes to the process: nothing is answered from memory.
    mount = Mount("bindfs", place, "store", "dead", "attr_timeout=0,entry_timeout=0")
    try:
        dead_file_system(place, mount)
        stuck_removal(place, mount)
    finally:
        mount.remove()
        place.remove()


def dead_file_system(place, mount):
    server = place.serve('login = "40s"\n')
    before = healthy_users(server, 3)
    inside, marked = [Pop3(server.port) for _ in range(8)], Pop3(server.port)
    for number, client in enumerate(inside):
        assert client.log_in(f"d{number}").startswith("+OK 3 "), number
        client.send("RETR 1")
        client.body()
    assert marked.log_in("d20").startswith("+OK 3 ")
    for number in (1, 2, 3):
        marked.ask(f"DELE {number}")
    mount.stop()
    for client in inside:
        client.close()
    replies = []

    def try_dead(number):
        try:
            client = Pop3(server.port)
            replies.append((number, client.log_in(f"d{30 + number % (DEAD - 30)}")))
        except OSError as error:
            replies.append((number, str(error)))

    # Three of each user: a client that gives up and comes again.
    threads = at_once(3 * (DEAD - 30), try_dead)
    time.sleep(2)
    marked.send("QUIT")
    during = healthy_users(server, 20)
    most = server.threads()
    expect(most.get("mail", 0) <= 64 + 64, f"threads while it hangs: {most}")
    quit_reply = marked.line()
    expect(quit_reply.startswith("-ERR [SYS/TEMP] 3 of 3 messages"), f"QUIT: {quit_reply}")
    for thread in threads:
        thread.join()
    mount.go_on()
    codes = [re.sub(r"^(\S+ ?(\[[^]]*\])?).*", r"\1", reply) for _, reply in replies]
    print({code: codes.count(code) for code in sorted(set(codes))})
    expect(set(codes) <= {"-ERR [SYS/TEMP]", "-ERR [IN-USE]"}, "who cannot be served is told so")
    median = lambda times: times[len(times) // 2]
    expect(during[-1] < max(SLOWEST, 3 * before[-1]),
           f"others: {len(during)} sessions, median {median(during):.3f} s (before "
           f"{median(before):.3f}), slowest {during[-1]:.3f} s (before {before[-1]:.3f})")
    time.sleep(2)
    left = len(os.listdir(place.path("store/d20/new"))) + len(os.listdir(place.path("store/d20/cur")))
    expect(left == 3, f"of the removal that was refused {left} of 3 messages are there")
    again = Pop3(server.port)
    reply = again.log_in("d20")
    expect(reply.startswith("+OK 3 "), f"the lock is free: {reply}")
    again.ask("DELE 1")
    reply = again.ask("QUIT")
    expect(reply.startswith("+OK 1 message removed"), f"and it can be removed from: {reply}")
    expect("panicked" not in server.text(), "nothing has panicked")
    expect(server.stop() == 0, "it stops in order")


def stuck_removal(place, mount):
    server = place.serve('shutdown-grace = "1s"\n')
    client = Pop3(server.port)
    assert client.log_in("d21").startswith("+OK 3 ")
    client.ask("DELE 1")
    # The index is written after the reply. What the stopped process has begun with by then cannot be
    # given up: the system does not let a process end that waits for such an answer.
    index = place.path("store/d21/restante.index")
    for _ in range(100):
        if os.path.exists(index):
            break
        time.sleep(0.1)
    time.sleep(1)
    mount.stop()
    client.send("QUIT")
    time.sleep(1)
    begun = time.monotonic()
    code = server.stop()
    took = time.monotonic() - begun
    mount.go_on()
    expect(code == 1 and took < 30, f"a stop with a removal that hangs: exit code {code} after {took:.1f} s")
    expect("removals had not ended" in server.text(), "the log says what is left")
