"""The file of `faas backup`, read and written as docs/BACKUP.md says: independent of the program's own code."""
import hashlib
import struct

MAGIC = b"faas backup 1\n"


def parse(data):
    """[(kind, name, value)] of a whole file without its end, whose checksum is right."""
    assert data.startswith(MAGIC), data[:20]
    at, records = len(MAGIC), []
    while True:
        kind, zero, name_len, value_len = struct.unpack_from(">cBHI", data, at)
        name = data[at + 8:at + 8 + name_len].decode()
        value = data[at + 8 + name_len:at + 8 + name_len + value_len]
        assert zero == 0 and len(value) == value_len, (kind, at)
        if kind == b"E":
            assert value == hashlib.blake2b(data[:at + 8], digest_size=32).digest() and at + 8 + 32 == len(data)
            return records
        records.append((kind.decode(), name, value))
        at += 8 + name_len + value_len


def record(kind, name="", value=b""):
    return kind.encode() + b"\0" + struct.pack(">HI", len(name), len(value)) + name.encode() + value


def build(records):
    body = MAGIC + b"".join(record(*r) for r in records) + b"E\0" + struct.pack(">HI", 0, 32)
    return body + hashlib.blake2b(body, digest_size=32).digest()


def contents(records):
    """bucket -> {key: value}, as a restore leaves them."""
    found, bucket = {}, None
    for kind, name, value in records:
        if kind == "B":
            bucket = found.setdefault(name, {})
        elif kind in "PU":
            assert kind == "U" or name not in bucket, name
            bucket[name] = value
        elif kind == "D":
            bucket.pop(name, None)
    return found
