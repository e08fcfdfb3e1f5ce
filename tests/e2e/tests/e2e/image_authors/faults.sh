# Faults of an image, one of each kind, in a container whose programs were not started.
set -e
cat > /etc/supervisor/conf.d/app.conf <<'X'
[program:web]
command=service-run --name Web --port 8188 -- python3 -m http.server {listen}
[program:same]
command=service-run --name Same --port 8188 -- python3 -m http.server {listen}
[program:portal]
command=service-run --name Portal --port 1111 -- python3 -m http.server {listen}
[program:open]
command=service-run --name Open --port 8190 -- python3 -m http.server --bind 0.0.0.0 {listen}
[program:absent]
command=service-run --name Absent --port 8191 -- absent {listen}
[program:unset]
command=sh -c "echo %(ENV_HF_HOME)s"
[program:quoted]
command=cat
environment=A="%(ENV_WEB_USER)s"
[program:account]
command=cat
user=nobody-there
[program:log]
command=cat
stdout_logfile=/var/log/absent/x.log
[program:torn]
command=sh -c "x
[program:elsewhere]
command=/usr/local/bin/crlf
[program:nowhere]
command=cat
directory=/nosuch
[program:nowhere]
autostart=false
[inet_http_server]
port=*:9001
X
printf '#!/bin/bash\r\n' > /usr/local/bin/crlf; chmod 755 /usr/local/bin/crlf
printf '[program:unread]\ncommand=cat\n' > /etc/supervisor/conf.d/unread.ini
rm /opt/leonardo/bin/init.sh /etc/supervisor/base.d/serviceportal.conf
sed -i -e '/^childlogdir/d' -e 's,/run/leonardo/programs,/etc/supervisor/conf.d,' /etc/supervisor/supervisord.conf
printf '[program:caddy]\ncommand=cat\n' > /etc/supervisor/conf.d/caddy.conf
printf 'command=cat\n' > /etc/supervisor/conf.d/headless.conf
mkfifo /etc/supervisor/conf.d/pipe.conf
printf 'storage_map["a"]="/opt/absent/models"\nfalse\nstorage_map["b"]="/opt/storage"\n' >> /opt/leonardo/storage_monitor/etc/mappings.sh
echo '# mine' >> /opt/caddy/share/service_config
echo true > /opt/leonardo/bin/preflight.d/10-open.sh; chmod 666 /opt/leonardo/bin/preflight.d/10-open.sh
echo 'if true; then' > /opt/leonardo/bin/preflight.d/20-torn.sh
sync-tree add unselected; mkdir /opt/real; touch /opt/real/x; (umask 077; touch /opt/real/private)
cp /bin/cat /usr/local/bin/helper; chmod 4755 /usr/local/bin/helper
cp /bin/cat /usr/local/bin/probe; python3 -c 'import os;os.setxattr("/usr/local/bin/probe","security.capability",bytes.fromhex("0100000200200000000000000000000000000000"))'
ssh-keygen -q -t ed25519 -N "" -f /etc/ssh/ssh_host_ed25519_key; echo 0123456789abcdef > /etc/machine-id
echo 'ssh-ed25519 AAAA' > /root/.ssh/authorized_keys
echo 'https://ada:sesame@git.example' > /root/.git-credentials
echo ls > /root/.bash_history
env-store set HF_TOKEN=sesame OMP_NUM_THREADS=4
head -c 2000000 /dev/zero > /var/lib/apt/lists/index
touch $'/srv/a\n\e[31mb'; chmod 666 $'/srv/a\n\e[31mb'
