"""Keys, passwords and tokens stay where they are kept; hostile text stays inside its log line."""
import pathlib
import secrets

from support import Client, raw, unique


def processes(platform):
    status = platform.status()
    return {p["name"]: p["pid"] for p in status["processes"]} | {"faas up": status["pid"]}


def test_no_secret_is_in_an_argument_an_environment_a_log_or_an_answer(platform, promise):
    name, password = unique(), secrets.token_hex(12)
    user = Client(platform.url)
    answers = [user.post("/auth/register", {"username": name, "password": password})]
    login = user.post("/auth/login", {"username": name, "password": password})
    user.token = login.json["token"]
    answers += [user.post("/auth/login", {"username": name, "password": password + "x"}), user.get("/auth/validate"), user.get("/nothing?" + user.token),
                user.post("/auth/login", {"username": name, "password": password, "surprise": password}), user.post("/registry/register", {"name": user.token})]
    keys = [p for p in pathlib.Path(platform.data).rglob("*") if p.suffix in (".pem", ".seed")]
    assert len(keys) >= 6, keys
    hidden = [line for p in keys for line in p.read_text().splitlines() if len(line) > 20 and "---" not in line] + [password, user.token.split(".")[2]]
    places = {f"{kind} of {who}": pathlib.Path("/proc", str(pid), kind).read_bytes() for who, pid in processes(platform).items() for kind in ("cmdline", "environ")}
    places |= {p.name: p.read_bytes() for p in pathlib.Path(platform.data, "log").glob("*.log")}
    places |= {f"answer {i}": a.body + str(a.headers).encode() for i, a in enumerate(answers)}
    assert len(places) > 30 and all(p.stat().st_mode & 0o077 == 0 for p in keys)
    hits = [(place, secret[:6]) for secret in hidden for place, text in places.items() if secret.encode() in text]
    assert hits == []
    promise(40, "0 hits of keys, seeds, password and token in arguments, environments, logs and answers")


HOSTILE = ["\r\n{\"level\":\"error\",\"msg\":\"forged\"}", "\x1b[2J\x1b]0;x\x07", "\u202e\u2066", "\x00", "%n%s%x", "\",\"msg\":\"forged\"", "\ud7ff\ufffe", "x" * 3000]


def test_no_text_of_a_user_breaks_or_forges_a_log_line(platform, client, functions, promise):
    tries = 0
    for text in HOSTILE:
        for body in ({"username": text, "password": "correct horse"}, {"username": unique(), "password": text}):
            Client(platform.url).post("/auth/login", body)
            tries += 1
        for path, body in (("/registry/register", {"name": text, "payload": "x"}), ("/registry/register", {"name": "x", "payload": text}),
                           ("/registry/register", {"name": unique("h"), "payload": "faas-examples/echo:latest", "description": text}),
                           ("/publisher/publish", {"name": text, "argument": text})):
            client.post(path, body)
            tries += 1
        client.call("fail", f"exit 1 {text}")
        plain = text.encode("utf-8", "replace")
        raw(platform.url, b"GET /" + plain + b" HTTP/1.1\r\nHost: x\r\nUser-Agent: " + plain + b"\r\nX-Call-Id: " + plain + b"\r\nConnection: close\r\n\r\n")
        tries += 2
    platform.check_logs()
    for path in pathlib.Path(platform.data, "log").glob("*.log"):
        assert '"msg":"forged"' not in path.read_text(errors="replace"), path
    promise(41, f"0 lines broken or forged by {tries} requests of hostile text")
