"""Writes its argument in upper case: exactly those characters, and no newline after them."""

import os
import sys

# Bytes, not text streams: what is not valid UTF-8 goes through unchanged instead of failing.
text = os.fsencode(sys.argv[1] if len(sys.argv) > 1 else "").decode("utf-8", "surrogateescape")
sys.stdout.buffer.write(text.upper().encode("utf-8", "surrogateescape"))
