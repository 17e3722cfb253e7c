# shellcheck shell=dash
# where.sh - who and where this function is, one "name=value" per line.
printf 'uid=%s\ngid=%s\ncwd=%s\n' "$(id -u)" "$(id -g)" "$(pwd)"
printf 'greeting=%s\nempty=%s\nargument=%s\n' "$GREETING" "${EMPTY-unset}" "$1"
if grep -q ' /srv/keep ' /proc/self/mounts; then echo volume=mounted; else echo volume=plain; fi
printf 'held=%s\n' "$(ls -A /srv/keep)"
echo kept >/srv/keep/file && printf 'written=%s\n' "$(cat /srv/keep/file)"
cp /bin/busybox /srv/keep/busybox && printf 'ran=%s\n' "$(/srv/keep/busybox echo yes)"
