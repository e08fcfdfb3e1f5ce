#!/bin/sh
# packages.sh LIST...: installs the packages of the list files and removes everything else it created.
# "DISTRIBUTION" in a name is replaced by the one in /etc/os-release, such as ubuntu-24.04.
set -eu
. /build/trust.sh
. /etc/os-release
distribution=$ID-$VERSION_ID
lists=$(printf '%s\n' "$@" | sed "s/DISTRIBUTION/$distribution/")
for list in $lists; do
    [ -f "$list" ] && continue
    printf 'packages: no list %s: %s is not a supported base, add the file to support it\n' "$list" "$PRETTY_NAME" >&2
    exit 1
done
names=$(sed 's/#.*//' $lists)

# Services must not start while packages are unpacked, neither here nor in an image built on this one.
if [ ! -e /usr/sbin/policy-rc.d ]; then
    printf '#!/bin/sh\nexit 101\n' > /usr/sbin/policy-rc.d
    chmod 0755 /usr/sbin/policy-rc.d
fi

# Indexes and archives are in separate directories of the build's cache mount: the "docker-clean" hooks of Ubuntu's images
# empty the default ones after each installation.
cache=/cache/apt/$distribution-$(dpkg --print-architecture)
mkdir -p "$cache/lists/partial" "$cache/archives/partial"
set -- \
    -o Dir::State::Lists="$cache/lists" -o Dir::Cache="$cache" \
    -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache= \
    -o APT::Keep-Downloaded-Packages=true -o APT::Sandbox::User=root \
    -o Acquire::Retries=3 -o Dpkg::Use-Pty=0
[ ! -s "$ca_bundle" ] || set -- "$@" -o Acquire::https::CAInfo="$ca_bundle"
left_out=/build/left-out.paths
if [ -f "$left_out" ]; then
    # "*" is for dpkg, not for this shell.
    set -f
    for pattern in $(sed 's/#.*//' "$left_out"); do
        case $pattern in
        +*) set -- "$@" -o Dpkg::Options::="--path-include=${pattern#+}" ;;
        *) set -- "$@" -o Dpkg::Options::="--path-exclude=$pattern" ;;
        esac
    done
    set +f
fi

export DEBIAN_FRONTEND=noninteractive
apt-get "$@" update -q
apt-get "$@" install -qq --yes --no-install-recommends $names

# openssh-server created host keys, which every container would share. The first start creates new ones.
rm -f /etc/ssh/ssh_host_*
# Every container needs its own machine id.
rm -f /var/lib/dbus/machine-id
[ ! -s /etc/machine-id ] || : > /etc/machine-id
# The day on which the packages' accounts were created; without it, a build of tomorrow is the same.
sed -i 's/^\([^:]*:[^:]*\):[0-9]*:/\1::/' /etc/shadow
# git-lfs adds its settings in random order.
if [ -s /etc/gitconfig ]; then
    git config --system --list | LC_ALL=C sort > /tmp/gitconfig
    : > /etc/gitconfig
    while IFS='=' read -r name value; do
        git config --system --add "$name" "$value"
    done < /tmp/gitconfig
fi
rm -f /var/log/dpkg.log /var/log/alternatives.log /var/log/bootstrap.log /var/cache/ldconfig/aux-cache \
    /var/cache/debconf/*-old /var/lib/dpkg/*-old /etc/*-
rm -rf /var/log/apt /var/cache/apt/*.bin /var/lib/apt/lists/* /tmp/* /var/tmp/*
