"""The argument is the last of argv; what goes to standard output is the answer."""
import sys

print(f"Hello, {sys.argv[1] if len(sys.argv) > 1 else 'nobody'}!")
