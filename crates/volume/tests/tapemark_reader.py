#!/usr/bin/env python3
"""A second reader of the Tapemark Tape Format, written from docs/tape-format.md alone.

usage: tapemark_reader.py DUMP [IDENTITY [OUTDIR]]

DUMP is a directory of tape files (file000000, file000001, ...). Prints one JSON object: the
label, the placements that count with everything checked that can be checked, and problems.
With an age identity file the sealed parts are opened (by the programs age and zstd) and every
artifact is read, compared and, with OUTDIR, written.
"""
import hashlib
import io
import json
import os
import subprocess
import sys

RECORD = 524288


def crc32c_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


TABLE = crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = TABLE[(crc ^ byte) & 255] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def sha(data):
    return hashlib.sha256(data).hexdigest()


def header(data, at):
    """Section 4: name, size and type of the tar header at a byte, or None."""
    block = data[at:at + 512]
    if len(block) < 512 or block[257:262] != b"ustar":
        return None
    total = sum(block[:148]) + 8 * 32 + sum(block[156:])
    if int(block[148:156].strip(b"\0 ") or b"0", 8) != total:
        return None
    name = block[:100].split(b"\0")[0].decode("ascii", "replace")
    return name, int(block[124:136].strip(b"\0 "), 8), block[156:157]


def members(data):
    at, found = 0, {}
    while True:
        head = header(data, at)
        if head is None:
            return found
        name, size, _ = head
        found[name] = data[at + 512:at + 512 + size]
        at += 512 + size + -size % 512


def run(argv, data):
    return subprocess.run(argv, input=data, check=True, stdout=subprocess.PIPE).stdout


def unseal(stored, name, identity):
    """Section 5: open by suffix."""
    if name.endswith(".age"):
        stored = run(["age", "-d", "-i", identity], stored)
        name = name[:-4]
    if name.endswith(".zst"):
        stored = run(["zstd", "-dc"], stored)
    return stored


class Tape:
    def __init__(self, directory):
        self.files = []
        first = 0
        for name in sorted(os.listdir(directory)):
            with open(os.path.join(directory, name), "rb") as file:
                data = file.read()
            self.files.append((first, data))
            first += -(-len(data) // RECORD) + 1
        self.by_first = dict(self.files)


def check_label(tape):
    vol1 = tape.files[0][1]
    assert len(vol1) == 80 and vol1[:4] == b"VOL1" and vol1[79:] == b"4", "VOL1"
    assert vol1[24:37] == b"TAPEMARK     ", "not a Tapemark volume"
    label = json.loads(members(tape.files[1][1])["LABEL.json"])
    assert (label["format"], label["version"]) == ("tapemark/label", 1)
    assert label["record_bytes"] == RECORD
    assert label["barcode"][:6].ljust(6) == vol1[4:10].decode(), "VOL1 and LABEL.json differ"
    return label


def check_placement(tape, first, manifest):
    """Section 6: segments, CRCs, members. Returns stored bytes of members and problems."""
    problems, stored, at = [], [], None
    for number, segment in enumerate(manifest["segments"]):
        data = tape.by_first.get(segment["first"])
        if data is None:
            raise ValueError(f"no segment at {segment['first']}")
        if segment["no"] != number or at not in (None, segment["first"]):
            raise ValueError("segments are not back to back")
        at = segment["first"] + segment["records"] + 1
        records = [data[i:i + RECORD] for i in range(0, len(data), RECORD)]
        if len(records) != segment["records"] or len(data) != segment["bytes"]:
            raise ValueError(f"segment {number} has another length")
        if sha(data) != segment["sha256"]:
            problems.append(f"segment {number}: sha256")
        for index, record in enumerate(records):
            if "%08x" % crc32c(record) != segment["crc32c"][8 * index:8 * index + 8]:
                problems.append(f"segment {number}: record {index}: crc32c")
        if data[-1024:].strip(b"\0"):
            problems.append(f"segment {number}: no end of archive")
    if at not in (None, first):
        raise ValueError("the manifest is not behind its data")
    for member in manifest["members"]:
        data = tape.by_first[manifest["segments"][member["segment"]]["first"]]
        start = member["record"] * RECORD + member["offset"]
        if header(data, start) != (member["name"], member["size"], b"0"):
            problems.append(f"member {member['name']}: tar header")
        content = data[start + 512:start + 512 + member["size"]]
        if sha(content) != member["sha256"]:
            problems.append(f"member {member['name']}: sha256")
        stored.append(content)
    return stored, problems


def open_artifacts(manifest, sealed_stored, stored, identity, out):
    """Section 7. Returns the sealed part and problems."""
    name = manifest["sealed"]["name"]
    sealed = json.loads(unseal(sealed_stored, name, identity))
    assert (sealed["format"], sealed["version"]) == ("tapemark/sealed", 1)
    assert sealed["checkpoint"] == manifest["checkpoint"]
    text = "".join(f"{a['sha256']} {a['size']} {a['offset']} {a['length']} {a['name']}\n"
                   for a in sealed["artifacts"])
    assert sha(text.encode()) == manifest["part_content"], "part_content"
    assert len(sealed["artifacts"]) == manifest["artifacts"]
    problems, opened = [], {}

    def content(index):
        if index not in opened:
            opened[index] = unseal(stored[index], manifest["members"][index]["name"], identity)
        return opened[index]

    for artifact in sealed["artifacts"]:
        rows = range(artifact["member"], artifact["member"] + artifact["members"])
        data = b"".join(content(row) for row in rows)
        data = data[artifact["at"]:artifact["at"] + artifact["length"]]
        whole = (artifact["offset"], artifact["length"]) == (0, artifact["size"])
        if sha(data) != artifact["range_sha256"] or whole and sha(data) != artifact["sha256"]:
            problems.append(f"artifact {artifact['name']}: sha256")
        if out:
            path = os.path.join(out, artifact["name"])
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "r+b" if os.path.exists(path) else "wb") as file:
                file.seek(artifact["offset"])
                file.write(data)
    for index, member in enumerate(manifest["members"]):
        # Section 5: a bundle's name tells the digest of what it opens to.
        if member["kind"] == "bundle" and index in opened:
            assert sha(opened[index]) == member["name"].split("-")[1].split(".")[0], "bundle"
    return sealed, problems


def follow_chain(chain, previous, first, report):
    """Section 9: the chain after a manifest that names `previous`."""
    digests = [digest for digest, _ in chain]
    if previous == (digests[-1] if digests else None):
        return chain
    if previous is not None and previous not in digests:
        report["problems"].append(f"manifest at {first}: chain break")
        return chain
    keep = digests.index(previous) + 1 if previous else 0
    report["problems"].append(f"manifest at {first} disowns {len(chain) - keep}")
    return chain[:keep]


def main():
    tape = Tape(sys.argv[1])
    identity = sys.argv[2] if len(sys.argv) > 2 else None
    out = sys.argv[3] if len(sys.argv) > 3 else None
    label = check_label(tape)
    report = {"label": label, "placements": [], "problems": [], "unclaimed": [], "indexes": []}
    chain, fence, unclaimed = [], 0, {}
    for first, data in tape.files[2:]:
        head = header(data, 0)
        if head and head[0] == "INDEX.json":
            report["indexes"].append(json.loads(members(data)["INDEX.json"]))
            continue
        unclaimed[first] = len(data)
        if not head or head[0] != "MANIFEST.json":
            continue
        try:
            files = members(data)
            manifest = json.loads(files["MANIFEST.json"])
            assert (manifest["format"], manifest["version"]) == ("tapemark/manifest", 1)
            assert manifest["volume_uuid"] == label["uuid"], "of another volume"
            assert manifest["fence"] >= fence, f"fence {manifest['fence']} below {fence}"
            sealed_stored = files[manifest["sealed"]["name"]]
            assert sha(sealed_stored) == manifest["sealed"]["sha256"], "sealed part"
            stored, problems = check_placement(tape, first, manifest)
        except (AssertionError, KeyError, ValueError) as error:
            report["problems"].append(f"manifest at {first}: {error!r}")
            continue
        fence = manifest["fence"]
        previous = manifest["previous"] and manifest["previous"]["manifest"]
        chain = follow_chain(chain, previous, first, report)
        for claimed in [first] + [segment["first"] for segment in manifest["segments"]]:
            unclaimed.pop(claimed, None)
        placement = {"checkpoint": manifest["checkpoint"], "ordinal": manifest["ordinal"],
                     "manifest": sha(files["MANIFEST.json"]), "problems": problems}
        if identity:
            sealed, more = open_artifacts(manifest, sealed_stored, stored, identity, out)
            problems.extend(more)
            placement["service"] = sealed["service"]
            placement["artifacts"] = {a["name"]: a["sha256"] for a in sealed["artifacts"]}
        chain.append((placement["manifest"], placement))
    report["placements"] = [placement for _, placement in chain]
    report["unclaimed"] = [[first, length] for first, length in sorted(unclaimed.items())]
    json.dump(report, sys.stdout, ensure_ascii=False)


if __name__ == "__main__":
    sys.stdout = io.TextIOWrapper(sys.stdout.buffer, encoding="utf-8")
    main()
