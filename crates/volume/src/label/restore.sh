#!/bin/sh
# Restores one placement of a Tapemark tape from copies of its tape files.
# usage: sh restore.sh IDENTITY OUTDIR DATAFILE... MANIFESTFILE
# Needs: sh, tar, age, zstd, sha256sum, sed, grep. TAR names another tar, as in TAR="busybox tar".
set -eu
flags=-xf
if ${TAR:-tar} --help 2>&1 | grep -q ignore-zeros; then
    flags=-xif
else
    echo "this tar has no -i: on a damaged tape it may stop early" >&2
fi
identity=$1
out=$2
shift 2
mkdir -p "$out" "$out.work"
case $identity in /*) ;; *) identity=$PWD/$identity ;; esac
for file; do
    case $file in /*) ;; *) file=$PWD/$file ;; esac
    # A damaged place makes tar complain; the digests below decide.
    (cd "$out.work" && ${TAR:-tar} $flags "$file") || echo "tar: $file: see above" >&2
done
out=$(cd "$out" && pwd)
cd "$out.work"
lost=0

# Every member with its digest, as MANIFEST.json lists them.
grep -o '"name":"[^"]*","kind":"[^"]*","segment":[^}]*' MANIFEST.json |
    sed 's/"name":"\([^"]*\)".*"sha256":"\([^"]*\)".*/\2  \1/' >members.sha256
while read -r line; do
    member=${line#*  }
    if ! echo "$line" | sha256sum -c - >/dev/null 2>&1; then
        echo "LOST: $member (missing or damaged)" >&2
        rm -f "$member"
        lost=1
    fi
done <members.sha256

age -d -i "$identity" MANIFEST.sealed.json.zst.age | zstd -dc >sealed.json

# Opens a member to standard output.
open_member() {
    case $1 in
    *.zst.age) age -d -i "$identity" "$1" | zstd -dc ;;
    *.age) age -d -i "$identity" "$1" ;;
    esac
}

for member in bundle*; do
    [ -e "$member" ] || continue
    open_member "$member" >opened.tar
    (cd "$out" && ${TAR:-tar} $flags "$OLDPWD/opened.tar")
done

# One artifact a line in sealed.json; those with members of their own have "at":0.
grep '^{"index":' sealed.json | grep '"at":0}' >own.txt || :
while read -r line; do
    index=$(printf '%s\n' "$line" | sed 's/^{"index":\([0-9]*\),.*/\1/')
    name=$(printf '%s\n' "$line" | sed 's/^[^,]*,"name":"\(.*\)","source":".*/\1/; s/\\"/"/g')
    sha=$(printf '%s\n' "$line" | sed 's/.*"range_sha256":"\([0-9a-f]*\)".*/\1/')
    case $name in */*) mkdir -p "$out/${name%/*}" ;; esac
    for member in "$(printf '%05d' "$index")"-*; do
        [ -e "$member" ] && open_member "$member"
    done >"$out/$name"
    if [ "$(sha256sum <"$out/$name" | cut -d' ' -f1)" != "$sha" ]; then
        echo "LOST: $name (incomplete)" >&2
        lost=1
    fi
done <own.txt
[ $lost = 0 ] && echo "all members and artifacts are whole"
exit $lost
