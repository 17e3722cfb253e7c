# shellcheck shell=dash
# report.sh - what a function can see of the place it runs in. Plain text, one section per subject.

section() { printf '\n== %s\n' "$1"; }

# Prints "name: value" for the first of the given files that can be read.
first_of() {
    name=$1
    shift
    for file in "$@"; do
        if value=$(cat "$file" 2>/dev/null); then
            printf '%s: %s\n' "$name" "$value"
            return
        fi
    done
    printf '%s: not visible\n' "$name"
}

printf '== argument\n%s\n' "$1"

section identity
id
printf 'host: %s\npid: %s\nfolder: %s\n' "$(hostname)" "$$" "$(pwd)"
grep -E '^(Cap(Inh|Prm|Eff|Bnd|Amb)|NoNewPrivs|Seccomp):' /proc/self/status

section environment
env | sort

section limits
ulimit -a

# Control groups, version 2 then version 1.
section 'control group'
g=/sys/fs/cgroup
first_of memory $g/memory.max $g/memory/memory.limit_in_bytes
first_of processes $g/pids.max $g/pids/pids.max
first_of cpu $g/cpu.max $g/cpu/cpu.cfs_quota_us
first_of 'cpu period' $g/cpu/cpu.cfs_period_us

section mounts
awk '{ split($4, option, ","); print $2, $3, option[1] }' /proc/mounts

section 'network interfaces'
sed -n 's/^ *\([^:]*\):.*/\1/p' /proc/net/dev

section 'can write'
for folder in / /tmp /dev/shm; do
    if (: >"$folder/.report") 2>/dev/null; then
        rm -f "$folder/.report"
        printf '%s: yes\n' "$folder"
    else
        printf '%s: no\n' "$folder"
    fi
done
