# The container's variables for login shells; readable by members of group leonardo.
if [ -r /opt/leonardo/etc/environment.sh ]; then
    . /opt/leonardo/etc/environment.sh
fi
# Shows at login that the container is not ready or that something failed. Only on a terminal: editors start a login shell
# and parse its output. A bash has read /etc/bash.bashrc and printed it already.
case $- in
    *i*) if [ -t 1 ] && [ -z "${LEONARDO_BANNER-}" ]; then
        export LEONARDO_BANNER=shown
        /opt/leonardo/bin/boot banner
    fi ;;
esac
