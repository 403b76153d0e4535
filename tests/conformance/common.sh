# What the suites' scripts share. Each has the verb `fetch`, which ends with a line that is the version, or says on
# standard error why there is none; and `run`, which writes to $RESULTS and fails if the tests did not run to their end.
# See suite.rs for the variables they get, and suites/pymysql.sh for the form.
# shellcheck shell=bash
set -euo pipefail
readonly ROOT="$HERE/../.."
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

# languages NAME...: sees to it that they are there.
languages() { "$ROOT/scripts/install-conformance" "$@" >&2; }

# debian_source PACKAGE: unpacks the upstream part of a Debian source package into src, and says its version. Without
# Debian's patches: some archives serve one part and not the other.
debian_source() {
    local package="$1" version
    if [ ! -d src ]; then
        rm -rf download && mkdir download
        # Part of it may be had although the whole cannot: what counts is whether the archive below is there.
        download_source "$package" >download/log 2>&1 || true
        local archive
        archive="$(find download -name '*.orig.tar.*' ! -name '*.asc' | head -n 1)"
        [ -n "$archive" ] || fail "Debian's source package $package: $(grep -m 1 '^E:' download/log || tail -n 1 download/log)"
        unpack "$archive"
    fi
    version="$(find download -name '*.dsc' | head -n 1)"
    version="${version##*_}"
    echo "${version%.dsc}"
}

# download_source PACKAGE: by an apt state of our own, because few machines have sources in their lists.
download_source() {
    local apt="$CACHE/../apt" signed="" keyring=/usr/share/keyrings/debian-archive-keyring.gpg
    mkdir -p "$apt/lists/partial" "$apt/cache/archives/partial"
    [ -r "$keyring" ] && signed="[signed-by=$keyring] "
    # Two suites at once: the second waits for the lists of the first.
    exec 8>"$apt/lock"
    flock 8
    "$ROOT/scripts/debian-mirrors" | sed "s|.*|deb-src $signed& main|" >"$apt/sources.list"
    local options=(-o "Dir::Etc::sourcelist=$apt/sources.list" -o Dir::Etc::sourceparts=/dev/null
        -o "Dir::State::lists=$apt/lists" -o "Dir::Cache=$apt/cache" -o APT::Sandbox::User=root -o Acquire::Retries=3)
    [ -n "$(find "$apt/lists" -maxdepth 1 -name '*_Sources*' -mmin -720)" ] || apt-get "${options[@]}" -qq update
    # Archives of security updates do not always carry the newest sources; the release's own will do. A failure is seen
    # by the archive that is missing then.
    local release
    while read -r release; do
        (cd download && apt-get "${options[@]}" -qq source --download-only "$1=$release") || true
        [ -z "$(find download -name '*.orig.tar.*' ! -name '*.asc')" ] || break
        rm -f download/*.dsc
    done < <(apt-cache "${options[@]}" showsrc "$1" | sed -n 's/^Version: //p' | sort --version-sort --reverse --unique)
    exec 8>&-
}

# sdist PROJECT VERSION: unpacks a source distribution of Python's registry into src, and says its version.
sdist() {
    if [ "$(cat src/.of 2>/dev/null)" != "$*" ]; then
        rm -rf src download && mkdir download
        python3 -m pip download --quiet --no-binary :all: --no-deps --dest download "$1==$2" >download/log 2>&1 ||
            fail "the source distribution $1 $2: $(grep -m 1 -i error download/log || echo 'not found')"
        unpack "$(find download -name '*.tar.gz' | head -n 1)"
        echo "$*" >src/.of
    fi
    echo "$2"
}

# unpack ARCHIVE: into src.
unpack() {
    rm -rf src.partial && mkdir src.partial
    tar -xf "$1" -C src.partial --strip-components=1
    mv src.partial src
}

# venv PACKAGES: a Python environment of the suite's own.
venv() {
    if [ "$(cat venv/packages 2>/dev/null)" != "$*" ]; then
        rm -rf venv
        python3 -m venv venv >&2
        venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" >&2 || fail "pip cannot get $*"
        echo "$*" >venv/packages
    fi
}

# runner STATUS COMMAND...: runs tests. The status is what the runner ends with when some of them fail; any other means
# that it did not do its work.
runner() {
    local failed="$1" status=0
    shift
    "$@" || status=$?
    [ "$status" = 0 ] || [ "$status" = "$failed" ] || fail "$1 ended with status $status"
}

# results FORMAT [PREFIX] <OUTPUT: notes how each test ended; fails if the output shows that not all did.
results() { python3 "$HERE/results.py" "$@" >>"$RESULTS"; }

# perl_suite VERB PACKAGE MODULE DRIVER: a Perl driver, Debian's source package, built against the client library of the
# machine.
perl_suite() {
    case "$1" in
        fetch)
            languages perl python
            debian_source "$2"
            perl_build "$3" >&2
            ;;
        run) perl_run "DBI:$4:database=$SCHEMA;host=$HOST;port=$PORT" ;;
    esac
}

# perl_build MODULE: builds the Perl driver in src.
perl_build() {
    [ ! -f src/built ] || return 0
    (cd src && perl Makefile.PL --mysql_config=mariadb_config --testdb="$SCHEMA" && make) >build.log 2>&1 ||
        fail "$1 cannot be built: $(tail -n 1 build.log)"
    # Without what the Makefile wrote down, tests read the environment.
    rm -f src/t/*.mtest
    touch src/built
}

# perl_run DSN: every file of src/t by itself. How it ended is among its results: a plan that was not kept is a failed
# test.
perl_run() {
    export DBI_DSN="$1" DBI_USER="$DBUSER" DBI_PASS="$DBPASSWORD"
    # Some tests are named by what they find in a hash, in its order.
    export PERL_HASH_SEED=0 PERL_PERTURB_KEYS=0
    local file status
    cd src
    for file in t/*.t; do
        echo "== $file"
        status=0
        timeout 120 perl -Mblib "$file" >../file.tap 2>../file.err || status=$?
        # Out of time, or ended by a signal: perhaps after its last test.
        [ "$status" -lt 124 ] || echo "not ok - ended with status $status" >>../file.tap
        cat ../file.tap ../file.err
        results tap "$file" <../file.tap
    done
}
