#!/usr/bin/env bash
# A real systemd --user in namespaces of its own, and a gateway that it looks after: installed, killed, restarted, stuck,
# stopped, removed, by the commands that a person uses. Started by .ci/service, which makes the namespaces.
# Usage: live.sh PROGRAM RUNTIME OUTSIDE, the last being what readlink /proc/self/ns/mnt says where it is started.
# Ends with 77 where such a manager does not come up.
set -euo pipefail
outside="${3:-}"
inside="$(readlink /proc/self/ns/mnt)"
if [[ "$outside" != mnt:* ]] || [[ "$inside" != mnt:* ]] || [ "$inside" = "$outside" ]; then
  echo "this mounts over /run: it is started by .ci/service, in namespaces of its own" >&2
  exit 1
fi
binary="$1"
runtime="$2"
port=18789

mount -t tmpfs tmpfs /run
mkdir -p /run/systemd/system /run/user/0
ip link set lo up
work="$(mktemp -d)"
export HOME="$work" XDG_RUNTIME_DIR=/run/user/0 USER=root
unset XDG_CONFIG_HOME DBUS_SESSION_BUS_ADDRESS
unset "${!OPENCLAW_@}" "${!CLAWGATE_@}"
mkdir -p "$work/.openclaw"
printf '{"gateway":{"mode":"local","auth":{"mode":"token","token":"%s"}}}' \
  "$(od -An -N24 -tx1 /dev/urandom | tr -d ' \n')" > "$work/.openclaw/openclaw.json"
chmod 600 "$work/.openclaw/openclaw.json"

/lib/systemd/systemd --user --log-target=null > /dev/null 2>&1 &
manager=$!
end() {
  code=$?
  if [ "$code" -ne 0 ]; then
    systemctl --user --no-pager status clawgate-gateway.service clawgate-gateway.socket || true
  fi
  kill "$manager" 2>/dev/null || true
  wait "$manager" 2>/dev/null || true
  rm -rf "$work"
  exit "$code"
}
trap end EXIT

fail() { echo "FAILED: $*" >&2; exit 1; }
# within WHAT COMMAND...: until it is so; a minute is far more than it takes.
within() {
  local what="$1" i
  shift
  for ((i = 0; i < 600; i++)); do
    if "$@" >/dev/null 2>&1; then return; fi
    sleep 0.1
  done
  fail "never: $what"
}
said() { systemctl --user show "clawgate-gateway.$1" --property="$2" --value; }
# answered: somebody listens, and a gateway answers in the end.
answered() {
  local line=
  exec 9<> "/dev/tcp/127.0.0.1/$port" || return 1
  printf 'GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nConnection: close\r\n\r\n' "$port" >&9
  read -r -t 30 line <&9 || true
  exec 9>&-
  [[ "$line" == *" 200 "* ]]
}
is_another() { local pid; pid="$(said service MainPID)"; [ "$pid" != 0 ] && [ "$pid" != "$1" ]; }
is_active() { [ "$(said service ActiveState)" = active ]; }

for ((i = 0; i < 50; i++)); do
  if systemctl --user show --property=Version >/dev/null 2>&1; then break; fi
  sleep 0.1
done
if ! systemctl --user show --property=Version >/dev/null 2>&1; then
  echo "SKIPPED: a gateway under a real systemd --user (it does not come up in a namespace here)"
  exit 77
fi
"$binary" gateway install --runtime "$runtime"
is_active || fail "it is $(said service ActiveState) after install"
[ "$(said service UnitFileState)/$(said socket UnitFileState)" = enabled/enabled ] || fail "it is not enabled"
[[ "$(said service StatusText)" == "listening on ws://127.0.0.1:$port"* ]] || fail "it says $(said service StatusText)"
answered || fail "nobody answers"
pid="$(said service MainPID)"
grep -q '^Seccomp:[[:space:]]*2$' "/proc/$pid/status" || fail "no system call is filtered"
grep -q '^NoNewPrivs:[[:space:]]*1$' "/proc/$pid/status" || fail "it may gain privileges"
"$binary" gateway status | tee "$work/status"
grep -q "^service   clawgate-gateway.service: enabled, active (running), pid $pid" "$work/status" || fail "status"
"$binary" gateway install --runtime "$runtime" | grep -q 'runs already\|installed already' || fail "a second install"

for ((i = 0; i < 5; i++)); do
  pid="$(said service MainPID)"
  kill -KILL "$pid"
  # At once: the socket is systemd's, and the connection waits in it.
  answered || fail "killed $i times, and a connection was refused or cut"
  is_another "$pid" || fail "who answered?"
  within "it runs again" is_active
done
echo "killed 5 times, answered 5 times"

pid="$(said service MainPID)"
kill -USR1 "$pid"
within "it was started again" is_another "$pid"
answered || fail "nobody answers after a restart that it was asked for"
[ "$(said service Result)" = success ] || fail "a restart is no failure"
echo "a restart by itself: systemd started it again"

mkdir -p "$work/.config/systemd/user/clawgate-gateway.service.d"
printf '[Service]\nWatchdogSec=1\nExecStopPost=/bin/sh -c "echo $SERVICE_RESULT >> %s/results"\n' "$work" > "$work/.config/systemd/user/clawgate-gateway.service.d/watchdog.conf"
systemctl --user daemon-reload
"$binary" gateway restart
within "it runs" is_active
pid="$(said service MainPID)"
sleep 3
[ "$(said service MainPID)" = "$pid" ] || fail "it lives, and was killed"
kill -STOP "$pid"
answered || fail "a stuck gateway was not replaced"
is_another "$pid" || fail "who answered?"
[ "$(tail -n 1 "$work/results")" = watchdog ] || fail "it was not the watchdog, but $(cat "$work/results")"
echo "a stuck gateway was killed by the watchdog and started again; a live one was not"
within "it runs" is_active

"$binary" gateway stop
if answered 2>/dev/null; then fail "somebody answers after a stop"; fi
"$binary" gateway start
answered || fail "nobody answers after a start"
"$binary" gateway install --port 18790 --runtime "$runtime"
port=18790
answered || fail "nobody answers at the other port"
"$binary" gateway uninstall
[ ! -e "$work/.config/systemd/user/clawgate-gateway.service" ] || fail "the unit is still there"
if answered 2>/dev/null; then fail "somebody answers after it is gone"; fi

# What only the manager of the machine can do: this manager runs as root, and can as well. Two lines it cannot carry out
# where it was tried (systemd 252 in a namespace): they are read by systemd-analyze only.
OPENCLAW_STATE_DIR="$work/.openclaw" "$binary" gateway install --dry-run --system --user root --manager systemd --runtime "$runtime" |
  awk -v folder="$work/.config/systemd/user" \
    '/^# \// { n = split($2, parts, "/"); file = folder "/" parts[n]; next } !/^(User|ProtectKernelLogs|ProtectKernelTunables)=/ { print > file }'
port=18789
systemctl --user daemon-reload
systemctl --user start clawgate-gateway.socket clawgate-gateway.service
is_active || fail "it does not run with the hardening of the machine's unit"
answered || fail "nobody answers"
pid="$(said service MainPID)"
grep -q ' / / ro[, ]' "/proc/$pid/mountinfo" || fail "its root can be written"
kill -KILL "$pid"
answered || fail "a connection was refused or cut"
systemctl --user stop clawgate-gateway.socket clawgate-gateway.service
echo "with the hardening of the machine's unit: it runs, on a root that it cannot write"
