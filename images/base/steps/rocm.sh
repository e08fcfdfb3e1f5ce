#!/bin/sh
# rocm.sh VERSION FLAVOUR: adds AMD's package archive for that release and installs the lists up to the flavour.
set -eu
. /build/trust.sh
. /etc/os-release
version=$1 flavour=$2
fail() {
    printf 'rocm: %s\n' "$1" >&2
    exit 1
}

case $VERSION_CODENAME in
jammy | noble) ;;
*) fail "AMD publishes no packages for $PRETTY_NAME; use ubuntu:22.04 or ubuntu:24.04" ;;
esac
[ "$(dpkg --print-architecture)" = amd64 ] || fail 'AMD publishes packages for amd64 only'
case $version in
'') fail 'ROCM_VERSION is not set' ;;
7.1[4-9]* | 7.[2-9][0-9]* | [89].*) fail "from 7.14 on AMD uses another archive and other package names; $version is not supported" ;;
esac
case $flavour in
core) flavours='core' ;;
runtime) flavours='core runtime' ;;
devel) flavours='core runtime devel' ;;
*) fail "ROCM_FLAVOUR is \"$flavour\", expected core, runtime or devel" ;;
esac

# The archive spells 6.2.0 as 6.2, but 6.2.4 in full.
case $version in
*.*.0) version=${version%.0} ;;
esac

/build/packages.sh /build/accelerator/bootstrap.txt
install -d -m 0755 /etc/apt/keyrings
grep -v '^#' /build/rocm.sha256 | while read -r digest address; do
    curl --fail --silent --show-error --location --retry 3 --connect-timeout 15 --output /etc/apt/keyrings/rocm.asc "$address"
    printf '%s  /etc/apt/keyrings/rocm.asc\n' "$digest" | sha256sum --check --quiet -
done
# Only the user-space archive: the host provides the kernel driver ("amdgpu").
printf 'deb [arch=amd64 signed-by=/etc/apt/keyrings/rocm.asc] https://repo.radeon.com/rocm/apt/%s %s main\n' \
    "$version" "$VERSION_CODENAME" > /etc/apt/sources.list.d/rocm.list
printf 'Package: *\nPin: release o=repo.radeon.com\nPin-Priority: 600\n' > /etc/apt/preferences.d/rocm-pin-600
set --
for each in $flavours; do
    set -- "$@" "/build/accelerator/rocm-$each.txt"
done
/build/packages.sh "$@"

printf '/opt/rocm/lib\n' > /etc/ld.so.conf.d/rocm.conf
ldconfig
# /dev/kfd and /dev/dri belong to these groups; the numbers are the host's, so `docker run --group-add` adds those.
for group in video render; do
    getent group "$group" > /dev/null || groupadd --system "$group"
done
