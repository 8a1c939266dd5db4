import hashlib, json, sys
from base64 import b64decode, urlsafe_b64decode

def sha(*parts): return hashlib.sha256(b"".join(parts)).digest()
def raw(text): return urlsafe_b64decode(text + "==")
def fail(where, why): sys.exit(f"line {where}: {why}")

def root(peaks):  # peaks: (height, hash) of complete subtrees, largest first
    top = None
    for _, h in reversed(peaks):
        top = h if top is None else sha(b"\1", h, top)
    return top or sha()

size, last, peaks, notes, first, ended = 0, None, [], 0, None, False
for where, line in enumerate(open(sys.argv[1], "rb"), 1):
    if ended or not line.endswith(b"\n"): fail(where, "it is cut off, or after the end")
    try: entry = json.loads(line)
    except ValueError: fail(where, "it is no JSON")
    if "checkpoint" in entry:
        origin, n, want = entry["checkpoint"].split("\n")[:3]
        if int(n) != size or b64decode(want) != root(peaks): fail(where, "the entries make another checkpoint")
        if first != sha((origin.rsplit("/", 1)[0] + "/1").encode()): fail(where, "it is of another instance")
        notes += 1
    elif "end" in entry:
        end, ended = entry["end"], True
        if (int(end["size"]), raw(end["root"]), end["checkpoints"]) != (size, root(peaks), notes): fail(where, "it ends otherwise")
    else:
        leaf = line[:-1]
        again = json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
        if leaf != again: fail(where, "it is not canonical")
        if int(entry["seq"]) != size: fail(where, f"it should be entry {size}")
        if size == 0: first = raw(entry["prev"])
        elif raw(entry["prev"]) != last: fail(where, "it does not follow from the one before")
        last = sha(b"\0", leaf)
        size, peaks = size + 1, peaks + [(0, last)]
        while len(peaks) > 1 and peaks[-1][0] == peaks[-2][0]:
            (height, left), (_, right) = peaks[-2:]
            peaks[-2:] = [(height + 1, sha(b"\1", left, right))]
if not ended: fail("last", "the end is missing")
print(f"{size} entries, {notes} checkpoints, root {root(peaks).hex()}")
