# PyMySQL: the last release whose source distribution carries pymysql/tests.
# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

case "$1" in
    fetch)
        languages venv
        venv pytest cryptography
        sdist PyMySQL 0.10.1
        ;;
    run)
        cat >src/pymysql/tests/databases.json <<END
[{"host": "$HOST", "port": $PORT, "user": "$DBUSER", "passwd": "$DBPASSWORD", "database": "test1", "use_unicode": true, "local_infile": true},
 {"host": "$HOST", "port": $PORT, "user": "$DBUSER", "passwd": "$DBPASSWORD", "database": "test2"}]
END
        venv/bin/python "$HERE/schemas.py" src test1 test2
        cd src
        runner 1 ../venv/bin/python -m pytest -rA -q -p no:cacheprovider --junit-xml=../junit.xml pymysql/tests
        results junit <../junit.xml
        ;;
esac
