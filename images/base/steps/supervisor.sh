#!/bin/sh
# supervisor.sh: the pinned supervisord in an environment of its own, /opt/supervisor, without pip.
set -eu
. /build/trust.sh
# Always the same directory: pip records digests of files that contain it.
scratch=/tmp/supervisor
python3 -m venv "$scratch/pip"
python3 -m venv --without-pip /opt/supervisor
library=$(/opt/supervisor/bin/python3 -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
"$scratch/pip/bin/pip" install --quiet --disable-pip-version-check --no-cache-dir --no-deps --no-compile \
    --only-binary :all: --require-hashes --requirement /build/supervisor.requirements.txt --target "$library"
rm -rf "$library/bin" "$library/supervisor/tests" /opt/supervisor/bin/[Aa]ctivate*

install -m 0755 /build/supervisor/supervisord /build/supervisor/supervisorctl /opt/supervisor/bin/
ln -s /opt/supervisor/bin/supervisord /opt/supervisor/bin/supervisorctl /usr/local/bin/

# Byte code must be in the image: without it every start compiles again (+30 ms). It is not checked against the modification
# times of the sources, because exporters may rewrite those.
python3 -m compileall -q --invalidation-mode unchecked-hash "$library"
rm -rf "$scratch"
supervisord --version
