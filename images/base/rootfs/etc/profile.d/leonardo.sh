# The container's variables for login shells. Members of group leonardo may read them.
if [ -r /opt/leonardo/etc/environment.sh ]; then
    . /opt/leonardo/etc/environment.sh
fi
