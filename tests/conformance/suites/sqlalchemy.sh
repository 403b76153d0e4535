# SQLAlchemy: its tests of the MySQL dialect, and those that every dialect must pass, by PyMySQL.
# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

case "$1" in
    fetch)
        languages venv
        venv pytest==8.3.4 PyMySQL==1.1.1 cryptography typing-extensions greenlet
        sdist SQLAlchemy 2.0.58
        ;;
    run)
        venv/bin/python "$HERE/schemas.py" venv/lib/python3*/site-packages test_schema test_schema_2
        cd src
        runner 1 ../venv/bin/python -m pytest -rA -q -p no:cacheprovider --junit-xml=../junit.xml --maxfail=10000 \
            --dburi "mysql+pymysql://$DBUSER:$DBPASSWORD@$HOST:$PORT/$SCHEMA?charset=utf8mb4" \
            test/dialect/mysql test/dialect/test_suite.py
        results junit <../junit.xml
        ;;
esac
