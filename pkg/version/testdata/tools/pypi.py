# packaging, the library that pip has inside.
import packaging
from packaging.version import InvalidVersion, Version

print("packaging", packaging.__version__, flush=True)
while True:
    try:
        a, b = input(), input()
    except EOFError:
        break
    try:
        a, b = Version(a), Version(b)
        print("<" if a < b else "=" if a == b else ">", flush=True)
    except InvalidVersion:
        print("?", flush=True)
