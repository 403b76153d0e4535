# What the suites' scripts share. Each has the verb `fetch`, which ends with a line that is the version, or says on
# standard error why there is none; and `run`, which writes to $RESULTS. See suite.rs for the variables they get.
# shellcheck shell=bash
set -euo pipefail
readonly ROOT="$HERE/../.."
export LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive

fail() {
    printf '%s\n' "$*" >&2
    exit 1
}

need() {
    local program
    for program in "$@"; do
        command -v "$program" >/dev/null || fail "$program is missing: scripts/install-conformance gets it"
    done
}

# debian_source PACKAGE: unpacks the upstream part of a Debian source package into src, and says its version. Without
# Debian's patches: some archives serve one part and not the other.
debian_source() {
    local package="$1" version
    if [ ! -d src ]; then
        rm -rf download && mkdir download
        download_source "$package" >download/log 2>&1 || true
        # Part of it may be had although the whole cannot.
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
    (cd download && apt-get "${options[@]}" -qq source --download-only "$1")
    exec 8>&-
}

# sdist PROJECT VERSION: unpacks a source distribution of Python's registry into src, and says its version.
sdist() {
    if [ ! -d src ]; then
        need python3 tar
        rm -rf download && mkdir download
        python3 -m pip download --quiet --no-binary :all: --no-deps --dest download "$1==$2" >download/log 2>&1 ||
            fail "the source distribution $1 $2: $(grep -m 1 -i error download/log || echo 'not found')"
        unpack "$(find download -name '*.tar.gz' | head -n 1)"
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
    if [ ! -x venv/bin/python ] || [ "$(cat venv/packages 2>/dev/null)" != "$*" ]; then
        rm -rf venv
        python3 -m venv venv >&2
        venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" >&2
        echo "$*" >venv/packages
    fi
}

results() { python3 "$HERE/results.py" "$@" >>"$RESULTS"; }

# perl_build MODULE: builds the Perl driver in src.
perl_build() {
    need perl make cc mariadb_config
    [ ! -f src/built ] || return 0
    (cd src && perl Makefile.PL --mysql_config=mariadb_config --testdb="$SCHEMA" && make) >build.log 2>&1 ||
        fail "$1 cannot be built: $(tail -n 1 build.log)"
    # Without what the Makefile wrote down, tests read the environment.
    rm -f src/t/*.mtest
    touch src/built
}

# perl_run VARIABLE=VALUE...: every file of src/t by itself.
perl_run() {
    local file
    cd src
    for file in t/*.t; do
        echo "== $file"
        (env "$@" PERL_HASH_SEED=0 timeout 120 perl -Mblib "$file" 2>&1 || true) | tee ../file.tap
        results tap "$file" <../file.tap
    done
}
