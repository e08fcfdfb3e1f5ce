# The container's variables for login shells. Members of group leonardo may read them.
if [ -r /opt/leonardo/etc/environment.sh ]; then
    . /opt/leonardo/etc/environment.sh
fi
# Whoever logs in while the container is not ready, or after something has failed, should know before typing.
# A program that asks a login shell for its variables reads its output, which is no terminal.
# A bash has read /etc/bash.bashrc before and has said it already.
case $- in
    *i*) if [ -t 1 ] && [ -z "${LEONARDO_BANNER-}" ]; then
        export LEONARDO_BANNER=shown
        /opt/leonardo/bin/boot banner
    fi ;;
esac
