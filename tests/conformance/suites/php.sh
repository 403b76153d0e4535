# What the suites of PHP share.
# shellcheck shell=bash source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

# php_suite VERB FOLDER
php_suite() {
    case "$1" in
        fetch)
            languages php python
            php_source
            ;;
        run) php_run "$2" ;;
    esac
}

php_source() {
    debian_source "php$(php -r 'echo PHP_MAJOR_VERSION, ".", PHP_MINOR_VERSION;')"
    [ -f src/sees-all ] || php_fixture >&2
}

# Tests write on one connection and read on another, opened before or after: what one session has written another is
# promised to see at `global` only. So their connections ask for that, where a fixture opens them. To a server it is a
# user variable like any other.
php_fixture() {
    python3 - src/ext/mysqli/tests/connect.inc src/ext/pdo_mysql/tests/mysql_pdo_test.inc <<'END'
import sys


def change(path, *changes):
    text = open(path, encoding="latin-1").read()
    for old, new in changes:
        if text.count(old) != 1:
            sys.exit(f"{path}: not as it was: {old}")
        text = text.replace(old, new)
    open(path, "w", encoding="latin-1").write(text)


SEE_ALL = """
        function see_all($link) {
            $mode = (new mysqli_driver)->report_mode;
            mysqli_report(MYSQLI_REPORT_OFF);
            mysqli_query($link, "SET @pointsman_consistency = 'global'");
            mysqli_report($mode);
        }
"""
REAL = "mysqli_real_connect($link, $host, $user, $passwd, $db, $port, $socket, $flags);"
change(
    sys.argv[1],
    ("            return $link;\n        }\n", "            if ($link) see_all($link);\n            return $link;\n        }\n" + SEE_ALL),
    ("return " + REAL, "$done = " + REAL + " if ($done) see_all($link); return $done;"),
    (
        "                    parent::__construct($host, $user, $passwd, $db, $port, $socket);\n                }\n",
        "                    parent::__construct($host, $user, $passwd, $db, $port, $socket);\n                }\n"
        "                if (!mysqli_connect_errno()) see_all($this);\n",
    ),
)
CASE = "        $db->setAttribute(PDO::ATTR_CASE, PDO::CASE_LOWER);\n"
change(sys.argv[2], (CASE, CASE + "        $db->exec(\"SET @pointsman_consistency = 'global'\");\n"))
END
    touch src/sees-all
}

# php_run FOLDER
php_run() {
    export MYSQL_TEST_HOST="$HOST" MYSQL_TEST_PORT="$PORT" MYSQL_TEST_USER="$DBUSER" MYSQL_TEST_PASSWD="$DBPASSWORD" \
        MYSQL_TEST_DB="$SCHEMA" PDO_MYSQL_TEST_DSN="mysql:host=$HOST;port=$PORT;dbname=$SCHEMA" PDO_MYSQL_TEST_HOST="$HOST" \
        PDO_MYSQL_TEST_PORT="$PORT" PDO_MYSQL_TEST_DB="$SCHEMA" PDO_MYSQL_TEST_USER="$DBUSER" \
        PDO_MYSQL_TEST_PASS="$DBPASSWORD" TEST_PHP_EXECUTABLE NO_INTERACTION=1
    TEST_PHP_EXECUTABLE="$(command -v php)"
    cd src
    # A reply that never comes ends a test instead of the suite.
    runner 1 php run-tests.php -q --no-color --no-progress --set-timeout 120 -d mysqlnd.net_read_timeout=60 "$1" >../php.log
    cat ../php.log
    results php <../php.log
}
