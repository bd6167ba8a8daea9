# Shared by setup.sh and packaging.sh: find Python, check disk space, make a virtual environment, run pip with
# visible progress. POSIX sh; every failure ends in one sentence on stderr and exit 2.

STARTED=$(date +%s)
MINIMUM="3.10"

# Measured with torch 2.15 on Linux: 6.0 GB when installed, 8.4 GB while pip still has the downloaded files.
# On other systems PyTorch has no CUDA libraries.
FRESH_MB=9000
[ "$(uname -s)" = Linux ] || FRESH_MB=3000

elapsed() { echo $(($(date +%s) - STARTED)); }
say() { printf '[%4d s] %s\n' "$(elapsed)" "$*"; }
fail() {
    printf 'mednet-bench: %s\n' "$*" >&2
    exit 2
}

# Is $1 a Python that is new enough? Asks the program, because names mislead.
new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1
}

# Prints the Python to build with: $PYTHON if the caller named one, else the first on the PATH that is new enough.
find_python() {
    if [ -n "${PYTHON:-}" ]; then
        new_enough "$PYTHON" && { echo "$PYTHON"; return; }
        found=$("$PYTHON" -c 'import platform; print("Python " + platform.python_version())' 2>/dev/null) ||
            found="not a Python that runs"
        fail "Python $MINIMUM or newer is needed, but PYTHON=$PYTHON is $found; name another one, as in: make PYTHON=/path/to/python3.12"
    fi
    for candidate in python3 python3.13 python3.12 python3.11 python3.10 python3.14 python; do
        command -v "$candidate" >/dev/null 2>&1 && new_enough "$candidate" && { echo "$candidate"; return; }
    done
    found=$(python3 -c 'import platform; print("python3 is " + platform.python_version())' 2>/dev/null) ||
        found="there is no python3 that runs"
    fail "Python $MINIMUM or newer is needed and none is on the PATH ($found); install one, or name it, as in: make PYTHON=/path/to/python3.12"
}

# check_disk FOLDER MEGABYTES WHAT HOW: fails if the folder's disk has less free space; HOW names another disk.
# NEED_MB overrides the estimate.
check_disk() {
    need=${NEED_MB:-$2}
    place=$1
    while [ ! -d "$place" ]; do place=$(dirname "$place"); done
    free=$(df -Pk "$place" | awk 'NR == 2 { print int($4 / 1024) }')
    [ "${free:-$need}" -ge "$need" ] ||
        fail "$3 needs about $need MB, but the disk that holds $place has $free MB free; free some space, or use another disk, as in: $4 (NEED_MB=... asks for less, where PyTorch comes without CUDA)"
}

# make_venv PYTHON FOLDER LOG: makes a virtual environment with a working pip; replaces a broken one.
make_venv() {
    if [ -e "$2/pyvenv.cfg" ] && new_enough "$2/bin/python" && "$2/bin/python" -m pip --version >/dev/null 2>&1; then
        return
    fi
    again=""
    # --clear only for a virtual environment: VENV may name a folder with other files.
    [ -e "$2/pyvenv.cfg" ] && again="--clear"
    # shellcheck disable=SC2086  # no word at all where $again is empty
    if "$1" -m venv $again "$2" >"$3" 2>&1; then return; fi
    if grep -q 'No space left' "$3"; then fail "the disk is full (log: $3)"; fi
    if grep -q 'Permission denied\|Read-only' "$3"; then fail "$2 cannot be written (log: $3)"; fi
    fail "$1 cannot make a virtual environment: its venv or ensurepip module is missing; install it (Debian and Ubuntu: apt install python3-venv) or name another Python with PYTHON=... (log: $3)"
}

# pip_step LOG: prints the last step that pip reported, in one line.
pip_step() {
    awk '/^ *(Obtaining|Processing|Collecting|Downloading|Using cached|Getting|Preparing|Building|Installing)|Retrying/ { line = $0 }
         END { sub(/^ */, "", line)
               sub(/^(Processing|Using cached) ([^ ]*\/)?/, "Reading ", line)
               sub(/-(cp|py)[0-9][^ ]*\.whl/, "", line)
               sub(/ \((from|started|finished)[^)]*\)|: (started|finished).*/, "", line)
               sub(/^Installing collected packages.*/, "Unpacking", line)
               sub(/.*Retrying.*/, "The package index does not answer, trying again", line)
               print line == "" ? "Starting pip" : substr(line, 1, 60) }' "$1" 2>/dev/null
}

# show_progress PID LOG FOLDER: shows progress until the process ends; a live line in a terminal, else one per 10 s.
show_progress() {
    tick=0
    size=0
    while kill -0 "$1" 2>/dev/null; do
        sleep 1
        tick=$((tick + 1))
        [ $((tick % 5)) -eq 0 ] && size=$(du -sk "$3" 2>/dev/null | awk '{ print int($1 / 1024) }')
        if [ -t 1 ]; then
            printf '\r\033[K[%4d s] %s, %s MB on disk' "$(elapsed)" "$(pip_step "$2")" "$size"
        elif [ $((tick % 10)) -eq 0 ]; then
            say "$(pip_step "$2"), $size MB on disk"
        fi
    done
    if [ -t 1 ]; then printf '\r\033[K'; fi
}

# pip_install FOLDER LOG ARGUMENT...: runs pip in that environment; Ctrl-C ends pip too.
pip_install() {
    home=$1
    log=$2
    shift 2
    forget_halves "$home"
    # pip unpacks GBs into TMPDIR; /tmp is often a small memory disk, the environment's disk was checked.
    rm -rf "$home/tmp"
    mkdir -p "$home/tmp"
    TMPDIR=$(cd "$home/tmp" && pwd) "$home/bin/python" -m pip install --no-input --disable-pip-version-check \
        --progress-bar off --no-compile "$@" >"$log" 2>&1 </dev/null &
    pid=$!
    trap 'kill $pid 2>/dev/null; wait $pid 2>/dev/null || :; rm -rf "$home/tmp"; echo "mednet-bench: interrupted; run the same command again to continue" >&2; exit 130' INT TERM HUP
    show_progress "$pid" "$log" "$home"
    status=0
    wait "$pid" || status=$?
    trap 'exit 130' INT TERM HUP
    rm -rf "$home/tmp"
    [ "$status" -eq 0 ] || explain "$log" "pip could not install"
}

# A pip killed while copying leaves a package that looks installed. pip writes INSTALLER after all files of a
# package, so one without it is incomplete: remove its metadata, and pip installs it again.
forget_halves() {
    for info in "$1"/lib/python3*/site-packages/*.dist-info; do
        if [ -d "$info" ] && [ ! -e "$info/INSTALLER" ]; then rm -rf "$info"; fi
    done
}

# explain LOG WHAT: fails with one sentence about the cause in the log of pip or of a build.
explain() {
    if grep -qi 'No space left on device' "$1"; then
        fail "the disk became full while pip was installing; free about $FRESH_MB MB and run the same command again (log: $1)"
    fi
    if grep -qiE 'NewConnectionError|ConnectTimeout|ConnectionError|ReadTimeout|Read timed out|ProxyError|SSLError|name resolution|ConnectionReset|Network is unreachable|Could not fetch URL|(5[0-9][0-9]|40[1378]) (Server|Client) Error' "$1"; then
        fail "the package index is out of reach; check the network, or pip's index and proxy settings (pip config list), and run the same command again (log: $1)"
    fi
    missing=$(sed -n 's/^ *ERROR: No matching distribution found for //p' "$1" | head -n 1)
    # With retries off, or for an untrusted index, an unreachable index looks empty to pip.
    if [ -n "$missing" ] && grep -q '(from versions: none)' "$1"; then
        fail "the package index is out of reach or holds nothing named '$missing'; check the network, or pip's index and proxy settings (pip config list), and run the same command again (log: $1)"
    fi
    if [ -n "$missing" ]; then
        fail "the package index has no '$missing' for this Python; name another Python with PYTHON=... (log: $1)"
    fi
    if grep -q 'Permission denied\|Read-only file system' "$1"; then
        fail "pip cannot write to the virtual environment; check who owns it (log: $1)"
    fi
    fail "$2: $(grep -iE '^ *error|Error: ' "$1" | tail -n 1 | cut -c1-200) (log: $1)"
}
