# Read by every interactive bash, and by the bash that sshd starts for a command ("ssh host command").

# The container's variables, also for non-interactive shells: editors and scripts over SSH need them.
# A nested shell keeps changes made in its parent, unless the store has changed since (its first line).
if [ -r /opt/leonardo/etc/environment.sh ]; then
    IFS= read -r leonardo_environment < /opt/leonardo/etc/environment.sh
    if [ "$leonardo_environment" != "$LEONARDO_ENVIRONMENT" ]; then
        . /opt/leonardo/etc/environment.sh
    fi
    unset leonardo_environment
fi

# Interactive shells only.
case $- in
    *i*) ;;
    *) return ;;
esac

# Once per session: a login shell also reads /etc/profile.d/leonardo.sh, and nested shells inherit the variable.
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
