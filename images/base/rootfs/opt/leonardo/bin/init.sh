#!/bin/sh
# The container's first process: settles everything, then becomes supervisord.
exec /opt/leonardo/bin/init "$@"
