"""No request passes without a token that auth signed for this platform, this moment and this user: more than a hundred forged or wrongly claimed
tokens at the public door, beside the good ones that differ from them in nothing else."""
import base64
import hashlib
import json
import pathlib
import re
import secrets
import time
import uuid

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

import conftest
from forging import ORDER, Key, b64, hashed, head, signed, unb64
from support import Client, raw, unique

DIR = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="module")
def forge(platform, client):
    return Forge(platform, client)


class Forge:
    """The real key of the platform, a real token, and the means to bend both."""

    def __init__(self, platform, client):
        self.url, self.client = platform.url, client
        self.key, self.other = Key.read(pathlib.Path(platform.data, "keys/token-1.pem")), Key()
        self.header = {"typ": "JWT", "alg": "ES256", "kid": self.key.kid}
        self.good = client.token
        self.claims = json.loads(unb64(self.good.split(".")[1]))
        self.claims["exp"] = int(time.time()) + 3600

    def token(self, header=None, payload=None, key=None, drop=(), **claims):
        """Signed by the real key unless told otherwise; None in header or claims leaves a field out."""
        full = {k: v for k, v in {**self.header, **(header or {})}.items() if v is not None}
        body = payload if payload is not None else {k: v for k, v in {**self.claims, "jti": str(uuid.uuid4()), **claims}.items() if k not in drop}
        return signed(key or self.key, full, body)

    def ask(self, lines, method="GET", path="/auth/validate", body=b""):
        """Status of a request with these header lines (bytes), byte for byte."""
        request = b"%s %s HTTP/1.1\r\nHost: test\r\n%sContent-Length: %d\r\nConnection: close\r\n\r\n%s" % (
            method.encode(), path.encode(), b"".join(line + b"\r\n" for line in lines), len(body), body)
        answer = raw(self.url, request, timeout=60)
        found = re.match(rb"HTTP/1\.[01] (\d{3}) ", answer)
        assert found, answer[:200]
        return int(found[1]), answer


def bearer(token):
    return [b"Authorization: Bearer " + (token if isinstance(token, bytes) else token.encode())]


# ---- what is tried ----

def algorithms(f):
    """The signature's kind: none, a hash with what is public, other curves and digests."""
    public = {"pem": f.key.pem, "der": f.key.der, "pem without newline": f.key.pem.rstrip(), "jwk": json.dumps(f.key.jwk).encode(), "kid": f.key.kid.encode(),
              "empty": b"", "secret": b"secret"}
    for name, secret in public.items():
        yield f"HS256 with the public key as {name}", hashed(secret, {**f.header, "alg": "HS256"}, f.claims)
        yield f"HS256 with the public key as {name}, said to be ES256", hashed(secret, f.header, f.claims)
    for alg, digest in (("HS384", hashlib.sha384), ("HS512", hashlib.sha512)):
        yield f"{alg} with the public key", hashed(f.key.pem, {**f.header, "alg": alg}, f.claims, digest)
    for alg in ("none", "None", "NONE", "nOnE", "", "null"):
        text = head({**f.header, "alg": alg}, f.claims)
        yield f"alg {alg!r} without signature", text + "."
        yield f"alg {alg!r} with a signature", f"{text}.{b64(f.key.sign(text.encode()))}"
    for alg in ("es256", "ES256 ", " ES256", "ES256K", "ES384", "ES512", "RS256", "PS256", "EdDSA", "HS256", "A" * 100):
        yield f"alg {alg!r} signed as ES256", f.token({"alg": alg})
    p384 = Key(curve=ec.SECP384R1())
    yield "ES384 by a key of its own", signed(p384, {**f.header, "alg": "ES384"}, f.claims, digest=hashes.SHA384(), size=48)
    yield "ES384 digest by the real key", signed(f.key, {**f.header, "alg": "ES384"}, f.claims, digest=hashes.SHA384())
    yield "SHA-384 by the real key, said to be ES256", signed(f.key, f.header, f.claims, digest=hashes.SHA384())
    for value in (None, 7, True, ["ES256"], {"alg": "ES256"}):
        yield f"alg of the wrong type: {value!r}", signed(f.key, {**f.header, "alg": value}, f.claims)
    yield "alg twice, none first", signed(f.key, '{"typ":"JWT","alg":"none","alg":"ES256","kid":"%s"}' % f.key.kid, f.claims)
    yield "alg twice, none last", signed(f.key, '{"typ":"JWT","alg":"ES256","alg":"none","kid":"%s"}' % f.key.kid, f.claims)


def headers(f):
    """Which key, and what a header may say."""
    yield "no alg", f.token({"alg": None})
    yield "no kid", f.token({"kid": None})
    yield "no typ", f.token({"typ": None})
    yield "typ of another kind", f.token({"typ": "at+jwt"})
    for kid in ("", "0" * 16, f.key.kid.upper(), f.key.kid[:15], f.key.kid + "0", "../../../../dev/null", "/dev/null", str(DIR / "forging.py"),
                "keys/token-1.pem", "' OR '1'='1", "*", ">", "u.*", "http://127.0.0.1:1/jwks.json", f.key.kid + "\u0000", "%2e%2e"):
        yield f"kid {kid!r}", f.token({"kid": kid})
    yield "kid of the right type but another key", f.token({"kid": f.other.kid})
    for kid in (7, None, True, [f.key.kid], {"kid": f.key.kid}):
        yield f"kid of the wrong type: {kid!r}", signed(f.key, {**f.header, "kid": kid}, f.claims)
    yield "another key under the real kid", f.token(key=f.other)
    yield "another key under its own kid, in the header as jwk", f.token({"kid": f.other.kid, "jwk": f.other.jwk}, key=f.other)
    yield "another key under the real kid, in the header as jwk", f.token({"jwk": f.other.jwk}, key=f.other)
    for name in ("jku", "x5u"):
        yield f"{name} to elsewhere", f.token({name: "http://127.0.0.1:1/keys"}, key=f.other)
        yield f"{name} beside the real signature", f.token({name: "http://127.0.0.1:1/keys"})
    yield "x5c", f.token({"x5c": [base64.b64encode(f.other.der).decode()]}, key=f.other)
    yield "crit with an unknown field", f.token({"crit": ["exp"], "exp": 1})
    yield "crit, empty", f.token({"crit": []})
    yield "b64 false", f.token({"crit": ["b64"], "b64": False})
    yield "zip", f.token({"zip": "DEF"})
    yield "cty", f.token({"cty": "JWT"})
    yield "header is an array", signed(f.key, "[]", f.claims)
    yield "header is a string", signed(f.key, '"ES256"', f.claims)
    yield "header is empty", signed(f.key, b"", f.claims)
    yield "header is no JSON", signed(f.key, b"\xff\xfe", f.claims)
    yield "text behind the header's object", signed(f.key, json.dumps(f.header) + "x", f.claims)


def claims(f):
    """Signed by the real key, but not what auth says."""
    now = int(time.time())
    yield "expired", f.token(exp=now - 1)
    yield "expired long ago", f.token(exp=1, iat=0)
    yield "expires before it was issued", f.token(iat=now, exp=now)
    for value in (str(now + 3600), float(now + 3600), True, None, [now + 3600], {}, -1, 2**63, 10**30, 1e300):
        yield f"exp {value!r}", f.token(exp=value)
    yield "nbf ahead", f.token(nbf=now + 600)
    yield "nbf of the wrong type", f.token(nbf=str(now))
    yield "iat ahead", f.token(iat=now + 600, exp=now + 3600)
    yield "iat of the wrong type", f.token(iat=str(now))
    yield "gen of the wrong type", f.token(gen="0")
    yield "gen below zero", f.token(gen=-1)
    for name in ("iss", "aud", "sub", "tid", "jti", "exp", "iat", "preferred_username"):
        yield f"no {name}", f.token(drop=(name,))
    for value in ("", "Faas", "faas ", "faas-api", "https://evil", ["faas"], 7):
        yield f"iss {value!r}", f.token(iss=value)
    for value in ("", "faas", "faas-api ", ["faas-api"], ["faas-api", "other"], 7):
        yield f"aud {value!r}", f.token(aud=value)
    for name in ("sub", "tid", "jti"):
        for value in ("", "*", "../x", 7, None, f.claims[name].upper() + "0", f.claims[name][:-1], f.claims[name] + "\u0000"):
            yield f"{name} {value!r}", f.token(**{name: value})
    for value in ("", "Ada", "a", "x" * 33, "a\nb", "../x", 7, "ада"):
        yield f"preferred_username {value!r}", f.token(preferred_username=value)
    for name, value in (("exp", 1), ("sub", str(uuid.uuid4())), ("tid", str(uuid.uuid4()))):
        text = json.dumps(f.claims)[:-1]
        yield f"{name} twice", f.token(payload=f'{text},"{name}":{json.dumps(value)}}}')
        yield f"{name} twice, the other way round", f.token(payload=f'{{"{name}":{json.dumps(value)},{text[1:]}}}')
    yield "payload is an array", f.token(payload=json.dumps([f.claims]))
    yield "payload is a string", f.token(payload='"x"')
    yield "payload is null", f.token(payload="null")
    yield "payload is empty", f.token(payload=b"")
    yield "payload is empty object", f.token(payload="{}")
    yield "payload is no UTF-8", f.token(payload=b'{"sub":"\xff"}')
    yield "payload is nested too deep", f.token(payload="[" * 1500 + "]" * 1500)
    yield "text behind the payload's object", f.token(payload=json.dumps(f.claims) + " 1")


def signatures(f):
    """A good head, a bad signature."""
    text, signature = f.good.rsplit(".", 1)
    data = unb64(signature)
    zero, one, top = bytes(32), (1).to_bytes(32, "big"), ORDER.to_bytes(32, "big")
    for bit in (0, 7, 255, 256, 383, 511):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        yield f"bit {bit} flipped", f"{text}.{b64(bytes(flipped))}"
    shapes = {"empty": b"", "one byte": data[:1], "cut by one": data[:-1], "cut to half": data[:32], "one byte more": data + b"\0", "twice": data + data,
              "r and s changed about": data[32:] + data[:32], "r zero": zero + data[32:], "s zero": data[:32] + zero, "both zero": zero + zero,
              "r one, s one": one + one, "r the order": top + data[32:], "s the order": data[:32] + top, "both the order": top + top, "all ones": b"\xff" * 64,
              "random": secrets.token_bytes(64), "DER": f.key.sign_der(text.encode()), "96 bytes": data + bytes(32)}
    for name, value in shapes.items():
        yield f"signature {name}", f"{text}.{b64(value)}"
    yield "signature of another token", f"{text}.{f.token().rsplit('.', 1)[1]}"
    yield "signature over the payload alone", f"{text}.{b64(f.key.sign(text.split('.')[1].encode()))}"
    yield "signature with padding", f"{text}.{signature}=="
    yield "signature in standard base64", f"{text}.{base64.b64encode(bytes([0xfb, 0xff]) + data[2:]).decode()}"
    last = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    yield "unused bits of the signature set", f"{text}.{signature[:-1]}{last[last.index(signature[-1]) | 1]}"
    yield "one character more", f.good + "A"
    header, payload = text.split(".")
    wanted = {**f.claims, "sub": str(uuid.uuid4())}
    yield "another subject under the signature", f"{header}.{b64(json.dumps(wanted).encode())}.{signature}"
    yield "a later end under the signature", f"{header}.{b64(json.dumps({**f.claims, 'exp': 2**40}).encode())}.{signature}"
    yield "padding behind the payload", f"{header}.{payload}=.{signature}"
    yield "padding behind the header", f"{header}=.{payload}.{signature}"


def shapes(f):
    """No compact token at all, or not in that place; bytes as they are."""
    good = f.good.encode()
    parts = good.split(b".")
    spread = {"nothing": b"", "a dot": b".", "two dots": b"..", "three dots": b"...", "one part": parts[0], "two parts": b".".join(parts[:2]),
              "four parts": good + b".x", "four parts, the last empty": good + b".", "five parts, as if encrypted": b".".join(parts + parts[1:]),
              "leading dot": b"." + good, "the token twice": good + good, "two tokens": good + b"," + good, "a token and a space": good + b" x",
              "quoted": b'"' + good + b'"', "a comma before": b"," + good, "URL encoded": good.replace(b".", b"%2e"),
              "overlong": good + b"A" * 5000, "overlong before the dot": b"A" * 5000 + b"." + b".".join(parts[1:]), "null": b"null", "undefined": b"undefined",
              "JSON form": json.dumps({"protected": parts[0].decode(), "payload": parts[1].decode(), "signature": parts[2].decode()}).encode(),
              "a space inside": parts[0] + b". " + parts[1] + b"." + parts[2], "high bytes": b"\xff\xfe" + good}
    for name, value in spread.items():
        yield name, bearer(value)
    expired = f.token(exp=1).encode()
    for name, value in {"NUL behind": good + b"\0", "NUL and more": good + b"\0evil", "NUL before": b"\0" + good, "NUL inside": parts[0] + b"\0." + parts[1] + b"." + parts[2], "NUL between an expired one and a good one":
                        expired + b"\0" + good, "NUL for the last byte": good[:-1] + b"\0",
                        "control byte": good + b"\x01", "bare CR": good + b"\rX: y"}.items():
        yield name, bearer(value)
    yield "no header at all", []
    yield "empty header", [b"Authorization:"]
    for scheme in (b"Basic", b"Digest", b"Token", b"JWT", b"Bearer:", b"Bear", b"Bearerx", b"Bearer Bearer", b"Bearer\t\t"):
        yield f"scheme {scheme.decode()!r}", [b"Authorization: " + scheme + b" " + (b"x" if scheme == b"Bearer\t\t" else good)]
    yield "Basic with the token as password", [b"Authorization: Basic " + base64.b64encode(b"user:" + good)]
    yield "two headers, both good", bearer(good) * 2
    yield "two headers, the good one first", bearer(good) + bearer(f.token(exp=1))
    yield "two headers, the good one last", bearer(f.token(exp=1)) + bearer(good)
    yield "two headers, one empty", [b"Authorization:"] + bearer(good)
    yield "folded header", [b"Authorization: Bearer", b" " + good]
    yield "space before the colon", [b"Authorization : Bearer " + good]
    for name in (b"Cookie: token=", b"X-Authorization: Bearer ", b"Proxy-Authorization: Bearer ", b"X-Access-Token: ", b"Authorization-: Bearer ", b"X-Forwarded-User: ",
                 b"Faas-User: ", b"Faas-Tenant: "):
        value = f.claims["sub"].encode() if b"User" in name or b"Tenant" in name else good
        yield f"in {name.split(b':')[0].decode()}", [name + value]


def attacks(f):
    for group in (algorithms, headers, claims, signatures):
        for name, token in group(f):
            yield f"{group.__name__}: {name}", bearer(token)
    for name, lines in shapes(f):
        yield f"shapes: {name}", lines


# ---- tests ----

def test_good_tokens_pass(forge):
    """The control: what the attacks below bend is good before it is bent."""
    f, now = forge, int(time.time())
    good = f.good.encode()
    for name, lines in {"as auth gave it": bearer(good), "lower-case scheme": [b"Authorization: bearer " + good], "upper-case": [b"AUTHORIZATION: BEARER " + good],
                        "spaces": [b"Authorization:   Bearer   " + good], "no scheme": [b"Authorization: " + good],
                        "signed here": bearer(f.token()), "with an unknown claim": bearer(f.token(later="x", more={"a": [1]})),
                        "nbf now": bearer(f.token(nbf=now)), "iat as far ahead as clocks may differ": bearer(f.token(iat=now + 30)),
                        "in another order": bearer(signed(f.key, dict(reversed(list(f.header.items()))), dict(reversed(list(f.claims.items())))))}.items():
        status, answer = f.ask(lines)
        assert status == 200, (name, answer)


def test_forged_and_wrongly_claimed_tokens_are_refused(forge, functions, promise):
    f = forge
    tried, accepted = 0, []
    body = json.dumps({"name": "echo", "argument": "forged"}).encode()
    for name, lines in attacks(f):
        for method, path, data in (("GET", "/auth/validate", b""), ("POST", "/publisher/publish", body)):
            status, answer = f.ask(lines, method, path, data)
            if not 400 <= status < 500 or b"forged" in answer:
                accepted.append((name, path, status, answer[-200:]))
        tried += 1
    assert accepted == [] and tried >= 100, (tried, accepted)
    assert f.ask(bearer(f.good), "POST", "/publisher/publish", body)[0] == 200  # and the call itself was good
    promise(2, f"0 of {tried} forged or wrongly claimed tokens accepted, each by a look and by a call")


def test_every_route_for_users_refuses_the_same(forge):
    """Each row of the route table that needs a token, without one and with a forged one."""
    f, tried = forge, 0
    table = (conftest.ROOT / "gateway/routes.c").read_text()
    rows = re.findall(r'\{"([A-Z]+)",\s+"([^"]+)",.*(?:GW_PERSON|GW_ANY|GW_INVOKE|GW_READ|GW_DEPLOY)', table)
    assert len(rows) >= 15, rows
    bad = {"none": [], "alg none": bearer(head({**f.header, "alg": "none"}, f.claims) + "."), "expired": bearer(f.token(exp=1)),
           "another key": bearer(f.token(key=f.other)), "public key as secret": bearer(hashed(f.key.pem, {**f.header, "alg": "HS256"}, f.claims))}
    for method, path in rows:
        for name, lines in bad.items():
            status, answer = f.ask(lines, method, path.replace("{name}", "echo").replace("{version}", "1"), b"{}")
            assert status == 401, (method, path, name, answer)
            assert b"WWW-Authenticate: Bearer" in answer, answer
            tried += 1
    print(f"routes for users: 0 of {tried} requests without a good token passed")


def test_a_token_opens_only_its_own_users_things(forge, other):
    """sub and tid come from the token alone; a good token of one user with another user's name in it would need the key."""
    f = forge
    name = other.register("faas-examples/echo:latest", name=unique("mine"))
    assert f.client.get(f"/registry/retrieve?name={name}").status == 404
    stolen = f.token(tid=json.loads(unb64(other.token.split(".")[1]))["tid"], key=f.other)
    assert f.ask(bearer(stolen), path=f"/registry/retrieve?name={name}")[0] == 401
    swapped = ".".join([other.token.split(".")[0], other.token.split(".")[1], f.good.split(".")[2]])
    assert f.ask(bearer(swapped), path=f"/registry/retrieve?name={name}")[0] == 401


def test_refusals_tell_a_forger_nothing(forge):
    """Whatever is wrong with a signature or a header, the answer is the same."""
    f = forge
    bodies = set()
    for token in (f.token(key=f.other), f.token({"kid": "0" * 16}), f.token({"alg": "HS256"}), f.token(iss="x"), f.good[:-4] + "AAAA"):
        doc = Client(f.url, token).get("/auth/validate").problem(401, "unauthenticated")
        bodies.add(json.dumps({k: v for k, v in doc.items() if k != "call_id"}, sort_keys=True))
    assert len(bodies) == 1, bodies
