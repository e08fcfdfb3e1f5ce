#!/bin/sh
# The name that people know.
exec /opt/leonardo/bin/logtail "$@"
