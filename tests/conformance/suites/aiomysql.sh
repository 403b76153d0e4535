# aiomysql: what asyncio makes of PyMySQL, its pool and its layer for SQLAlchemy.
# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

case "$1" in
    fetch)
        languages venv
        venv pytest "SQLAlchemy<2" PyMySQL==1.1.1 cryptography uvloop
        sdist aiomysql 0.3.2
        ;;
    run)
        cd src
        # The servers' certificates are not signed by the authority that the tests bring along.
        sed -i 's/# ctx.verify_mode = ssl.CERT_NONE/ctx.verify_mode = ssl.CERT_NONE/' tests/conftest.py
        export MYSQL_ROOT_PASSWORD="$ROOTPASSWORD"
        runner 1 ../venv/bin/python -m pytest -rA -q -p no:cacheprovider --junit-xml=../junit.xml \
            --mysql-address "$HOST:$PORT" tests
        results junit <../junit.xml
        ;;
esac
