# DBD::MariaDB, Debian's source package, built against the client library of the machine.
# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

case "$1" in
    fetch)
        version="$(debian_source libdbd-mariadb-perl)"
        perl_build DBD::MariaDB
        echo "$version"
        ;;
    run) perl_run DBI_DSN="DBI:MariaDB:database=$SCHEMA;host=$HOST;port=$PORT" DBI_USER="$DBUSER" DBI_PASS="$DBPASSWORD" ;;
esac
