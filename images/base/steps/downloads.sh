#!/bin/sh
# downloads.sh ROOT: downloads the files of pins/downloads.txt for this architecture into the tree ROOT.
#
# Three results. The right file is installed. A wrong one (different digest, or 404) fails the build, even for an optional
# file. If no source can be reached (no network, no name resolution, a refusing proxy), the next source is tried; an optional
# file is then left out with a notice, and a stub in its name explains that.
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

# upstream ADDRESS MEMBER FILE: 0 with the file, 1 if the host did not answer.
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

# wheel NAME FILE: the same file from a Python wheel; 1 if there is none or it cannot be fetched.
wheel() {
    requirements=/build/pins/$1.requirements.txt
    [ -f "$requirements" ] || return 1
    say "$1: trying the wheel in $(basename "$requirements")"
    python3 -m venv "$scratch/pip"
    if ! "$scratch/pip/bin/pip" download --quiet --disable-pip-version-check --no-cache-dir --no-deps --only-binary :all: \
        --require-hashes --requirement "$requirements" --dest "$scratch/wheel" 2> "$scratch/pip.log"; then
        cat "$scratch/pip.log" >&2
        # pip reports a wrong digest only in its message.
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

# stub NAME DIGEST PATH ADDRESS: a program of this name that says why it is missing and how to add it.
stub() {
    host=${4#https://}
    host=${host%%/*}
    # Not into the image's copy of a tree, but into the one in use.
    target=/$(printf %s "$3" | sed 's,^opt/\.image/,opt/,')
    mkdir -p "$root/opt/leonardo/stubs"
    cat > "$root/opt/leonardo/stubs/$1" << STUB
#!/bin/sh
cat >&2 << 'TEXT'
$1: not in this image: https://$host could not be reached when it was built
hint: rebuild the image with STRICT_DOWNLOADS=true and access to $host, or add it now:
  sudo curl -fL --create-dirs -o $target $4
  echo '$2  $target' | sha256sum --check && sudo chmod 755 $target && hash -r
TEXT
exit 127
STUB
    chmod 0755 "$root/opt/leonardo/stubs/$1"
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
            stub "$name" "$digest" "$path" "$address"
            continue
        fi
        has_digest "$digest" "$file" || fail "$name: the file fetched has sha256 $(sha256sum < "$file" | cut -c1-64), pinned is $digest"
        mv "$file" "$kept"
    fi
    # The trees below .image are shared with the group; only root changes the others.
    case $path in
    opt/.image/*) mode=0775 ;;
    *) mode=0755 ;;
    esac
    install -D -m "$mode" "$kept" "$root/$path"
    say "$name: $digest"
done < "$scratch/pins"
[ "$found" -gt 0 ] || fail "nothing is pinned for $architecture"
rm -rf "$scratch"
