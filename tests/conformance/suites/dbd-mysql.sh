# DBD::mysql, Debian's source package, built against the client library of the machine.
# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

case "$1" in
    fetch)
        version="$(debian_source libdbd-mysql-perl)"
        perl_build DBD::mysql
        echo "$version"
        ;;
    run) perl_run DBI_DSN="DBI:mysql:database=$SCHEMA;host=$HOST;port=$PORT" DBI_USER="$DBUSER" DBI_PASS="$DBPASSWORD" ;;
esac
