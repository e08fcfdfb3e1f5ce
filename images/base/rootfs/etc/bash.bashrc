# Read by every interactive bash, and by the bash that sshd starts for a command ("ssh host command").

# The container's variables come first, whether or not somebody looks: editors and scripts over SSH need them too.
# A shell inside a shell keeps what was changed in between, unless the store itself has changed (its first line).
if [ -r /opt/leonardo/etc/environment.sh ]; then
    IFS= read -r leonardo_environment < /opt/leonardo/etc/environment.sh
    if [ "$leonardo_environment" != "$LEONARDO_ENVIRONMENT" ]; then
        . /opt/leonardo/etc/environment.sh
    fi
    unset leonardo_environment
fi

# What follows is for people.
case $- in
    *i*) ;;
    *) return ;;
esac

# Once in a session: a login shell reads /etc/profile.d/leonardo.sh as well, and shells inside have the mark.
if [ -t 1 ] && [ -z "${LEONARDO_BANNER-}" ]; then
    export LEONARDO_BANNER=shown
    /opt/leonardo/bin/boot banner
fi

shopt -s checkwinsize
PS1='\u@\h:\w\$ '

if [ -x /opt/micromamba/bin/micromamba ]; then
    eval "$(/opt/micromamba/bin/micromamba shell hook --shell bash --root-prefix /opt/micromamba)"
fi
if [ -r /usr/share/bash-completion/bash_completion ] && ! shopt -oq posix; then
    . /usr/share/bash-completion/bash_completion
fi
