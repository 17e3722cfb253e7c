"""Callers that go on while something is done to the deployment, and what became of what they were told."""
import collections
import http.client
import threading
import time

from support import Client, unique


class Load:
    """Callers of a function and a user who registers functions, until the block ends.

    Every call that is answered with 200 has the right bytes, and every registration that was acknowledged is
    there afterwards; `failed` counts what was refused, by kind; `refused_s` is the longest time in which no connection was taken, and
    `silent_s` the longest in which nobody got an answer: a connection may be taken before anybody is there to answer."""

    def __init__(self, url, callers=3, **function):
        self.user = Client.new(url)
        self.echo = self.user.register("faas-examples/echo:latest", **function)
        self.failed, self.wrong = collections.Counter(), []
        self.said = set()  # in what words
        self.calls = 0
        self.refused_s = self.silent_s = 0.0
        self.acknowledged = []
        self.guard = threading.Lock()
        self.is_over = threading.Event()
        self.threads = [threading.Thread(target=self.go_on, args=(self.call,)) for _ in range(callers)]
        self.threads.append(threading.Thread(target=self.go_on, args=(self.register,)))
        self.threads.append(threading.Thread(target=self.look))

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        self.more(5)
        return self

    def __exit__(self, kind, error, trace):
        self.is_over.set()
        for thread in self.threads:
            thread.join()

    def go_on(self, step):
        while not self.is_over.is_set():
            try:
                step()
            except (OSError, http.client.HTTPException) as error:
                self.count("unreachable", repr(error))
                self.is_over.wait(0.05)

    def count(self, kind, words):
        with self.guard:
            self.failed[kind] += 1
            self.said.add(words)

    def refused(self, answer):
        self.count(f"{answer.status} {answer.json['code']}", answer.text)
        self.is_over.wait(0.05)

    def call(self):
        argument = unique("a")
        answer = self.user.call(self.echo, argument)
        with self.guard:
            self.calls += answer.status == 200
            if answer.status == 200 and answer.text != argument:
                self.wrong.append((argument, answer.text))
        if answer.status != 200:
            self.refused(answer)

    def register(self):
        name = unique("r")
        answer = self.user.post("/registry/register", {"name": name, "description": "", "payload": "faas-examples/echo:latest"})
        if answer.status == 201:
            self.acknowledged.append(name)
        else:
            self.refused(answer)
        self.is_over.wait(0.1)

    def look(self):
        door, answered = Client(self.user.url.geturl()), time.monotonic()
        while not self.is_over.wait(0.01):
            asked = time.monotonic()
            try:
                door.get("/healthz")
            except (OSError, http.client.HTTPException):
                continue
            self.refused_s = max(self.refused_s, asked - answered)
            self.silent_s = max(self.silent_s, time.monotonic() - answered)
            answered = time.monotonic()

    def more(self, calls, seconds=60):
        """Until so many more calls were answered."""
        target, end = self.calls + calls, time.monotonic() + seconds
        while self.calls < target:
            assert time.monotonic() < end, (f"no {calls} calls in {seconds} s", self.failed)
            time.sleep(0.05)

    def check(self, allowed=()):
        """Nothing that was acknowledged is lost; of refusals only these kinds are there."""
        assert self.wrong == []
        listed = {f["name"] for f in self.user.get("/registry/list").json}
        assert [name for name in self.acknowledged if name not in listed] == []
        assert set(self.failed) <= set(allowed), (self.failed, self.said)
        return f"{self.calls} calls, {len(self.acknowledged)} registrations, refused: {dict(self.failed) or 0}, door closed for {self.refused_s:.1f} s, silent for {self.silent_s:.1f} s at most"
