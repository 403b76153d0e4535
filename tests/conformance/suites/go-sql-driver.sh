# go-sql-driver/mysql, Debian's package with its tests.
# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

readonly package=/usr/share/gocode/src/github.com/go-sql-driver/mysql

case "$1" in
    fetch)
        need go dpkg-query
        [ -f "$package/driver_test.go" ] || fail "golang-github-go-sql-driver-mysql-dev is missing: scripts/install-conformance gets it"
        dpkg-query --show --showformat='${Version}\n' golang-github-go-sql-driver-mysql-dev
        ;;
    run)
        rm -rf src && cp -r "$package" src && cd src
        printf 'module github.com/go-sql-driver/mysql\n\ngo 1.19\n' >go.mod
        MYSQL_TEST_USER="$DBUSER" MYSQL_TEST_PASS="$DBPASSWORD" MYSQL_TEST_PROT=tcp MYSQL_TEST_ADDR="$HOST:$PORT" \
            MYSQL_TEST_DBNAME="$SCHEMA" MYSQL_TEST_CONCURRENT=1 GOFLAGS=-mod=mod GOPROXY=off \
            go test -json -count=1 ./... >../go.json || true
        cd ..
        cat go.json
        results go <go.json
        ;;
esac
