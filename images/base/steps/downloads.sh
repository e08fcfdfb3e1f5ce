#!/bin/sh
# downloads.sh ROOT: fetches what pins/downloads.txt lists for this architecture into the tree ROOT.
#
# Three outcomes are told apart. The right file: it is installed. A wrong one (other digest, an address that answers 404): the
# build fails, whatever the file is for. No answer (no network, a name that does not resolve, a refusing proxy): the next source,
# then, for an optional file, a notice and no file.
set -eu
. /build/trust.sh
root=$1
architecture=$(dpkg --print-architecture)
cache=/cache/downloads
scratch=$(mktemp -d)
mkdir -p "$cache"

say() { printf 'downloads: %s\n' "$*" >&2; }
fail() {
    say "$*"
    exit 1
}
has_digest() { printf '%s  %s\n' "$1" "$2" | sha256sum --check --status - 2> /dev/null; }

# upstream ADDRESS MEMBER FILE: 0 with the file, 1 when the host gave no answer.
upstream() {
    status=0
    answer=$(curl --silent --show-error --location --proto '=https' --retry 1 --connect-timeout 15 --max-time 600 \
        --write-out '%{http_code}' --output "$scratch/download" "$1") || status=$?
    case $status:$answer in
    0:200) ;;
    0:404 | 0:410) fail "$1 answers $answer: the pin names something that is not there" ;;
    60:* | 77:*)
        say "certificate of $1 not trusted; where TLS is intercepted pass --secret id=ca_bundle,src=FILE"
        return 1
        ;;
    0:*)
        say "$1 answers $answer"
        return 1
        ;;
    *) return 1 ;;
    esac
    case $2 in
    -) mv "$scratch/download" "$3" ;;
    *) tar -xzOf "$scratch/download" "$2" > "$3" || fail "$1 is not an archive with $2 in it" ;;
    esac
}

# wheel NAME FILE: the same file out of a Python wheel; 1 when there is none or it could not be fetched.
wheel() {
    requirements=/build/pins/$1.requirements.txt
    [ -f "$requirements" ] || return 1
    say "$1: trying the wheel in $(basename "$requirements")"
    python3 -m venv "$scratch/pip"
    if ! "$scratch/pip/bin/pip" download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary :all: \
        --require-hashes --requirement "$requirements" --dest "$scratch/wheel" 2> "$scratch/pip.log"; then
        cat "$scratch/pip.log" >&2
        # pip tells a wrong digest apart in words only.
        ! grep -q 'DO NOT MATCH THE HASHES' "$scratch/pip.log" || exit 1
        return 1
    fi
    python3 - "$scratch/wheel" "$1" "$2" << 'PYTHON'
import pathlib, shutil, sys, zipfile
folder, name, target = sys.argv[1:]
(archive,) = pathlib.Path(folder).glob("*.whl")
with zipfile.ZipFile(archive) as wheel:
    (member,) = [m for m in wheel.namelist() if m.endswith(".data/scripts/" + name)]
    with wheel.open(member) as source, open(target, "wb") as sink:
        shutil.copyfileobj(source, sink)
PYTHON
}

grep -v '^#' /build/pins/downloads.txt > "$scratch/pins"
found=0
while read -r name arch need digest path member address; do
    [ "$arch" = "$architecture" ] || continue
    found=$((found + 1))
    kept=$cache/$digest
    if ! has_digest "$digest" "$kept"; then
        file=$scratch/file
        rm -f "$file"
        if ! upstream "$address" "$member" "$file" && ! wheel "$name" "$file"; then
            [ "$need" = optional ] && [ "${STRICT_DOWNLOADS:-false}" != true ] || fail "$name: no source could be reached"
            say "NOTICE: $name is not in this image: $address could not be reached"
            continue
        fi
        has_digest "$digest" "$file" || fail "$name: the file fetched has sha256 $(sha256sum < "$file" | cut -c1-64), pinned is $digest"
        mv "$file" "$kept"
    fi
    # The trees below .image are shared with the group; root alone changes the others.
    case $path in
    opt/.image/*) mode=0775 ;;
    *) mode=0755 ;;
    esac
    install -D -m "$mode" "$kept" "$root/$path"
    say "$name: $digest"
done < "$scratch/pins"
[ "$found" -gt 0 ] || fail "nothing is pinned for $architecture"
rm -rf "$scratch"
