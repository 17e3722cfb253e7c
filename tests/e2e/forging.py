"""Tokens of any shape: right or wrong claims, headers, signatures.  ES256 keys from PEM files."""
import base64
import hashlib
import hmac
import json

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def b64(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Key:
    """A signing key; curve P-256 unless told otherwise."""

    def __init__(self, private=None, curve=None):
        self.private = private or ec.generate_private_key(curve or ec.SECP256R1())
        public = self.private.public_key()
        self.der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.pem = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
        self.kid = hashlib.sha256(self.der).hexdigest()[:16]

    @classmethod
    def read(cls, path):
        with open(path, "rb") as file:
            return cls(serialization.load_pem_private_key(file.read(), None))

    @property
    def jwk(self):
        point = self.private.public_key().public_numbers()
        return {"kty": "EC", "crv": "P-256", "x": b64(point.x.to_bytes(32, "big")), "y": b64(point.y.to_bytes(32, "big"))}

    def sign_der(self, data, digest=None):
        return self.private.sign(data, ec.ECDSA(digest or hashes.SHA256()))

    def sign(self, data, digest=None, size=32):
        r, s = utils.decode_dss_signature(self.sign_der(data, digest))
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def head(header, payload):
    """The part that is signed; header and payload are objects, or JSON text or bytes as they are."""
    return ".".join(b64(p if isinstance(p, bytes) else (p if isinstance(p, str) else json.dumps(p)).encode()) for p in (header, payload))


def signed(key, header, payload, **more):
    text = head(header, payload)
    return f"{text}.{b64(key.sign(text.encode(), **more))}"


def hashed(secret, header, payload, digest=hashlib.sha256):
    text = head(header, payload)
    return f"{text}.{b64(hmac.new(secret, text.encode(), digest).digest())}"
