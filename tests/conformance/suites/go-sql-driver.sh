# go-sql-driver/mysql, Debian's package with its tests.
# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

readonly package=/usr/share/gocode/src/github.com/go-sql-driver/mysql

case "$1" in
    fetch)
        languages go python
        dpkg-query --show --showformat='${Version}\n' golang-github-go-sql-driver-mysql-dev
        ;;
    run)
        rm -rf src && cp -r "$package" src
        printf 'module github.com/go-sql-driver/mysql\n\ngo 1.19\n' >src/go.mod
        export MYSQL_TEST_USER="$DBUSER" MYSQL_TEST_PASS="$DBPASSWORD" MYSQL_TEST_PROT=tcp MYSQL_TEST_ADDR="$HOST:$PORT"
        export MYSQL_TEST_DBNAME="$SCHEMA" MYSQL_TEST_CONCURRENT=1 GOFLAGS=-mod=mod GOPROXY=off
        cd src
        runner 1 go test -json -count=1 ./... >../go.json
        cat ../go.json
        results go <../go.json
        ;;
esac
