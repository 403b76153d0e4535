# MariaDB Connector/J: the JUnit tests of Debian's source package, against the driver of Debian's binary package.
# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

case "$1" in
    fetch)
        languages java python
        version="$(debian_source mariadb-connector-java)"
        if [ ! -f classes/built ]; then
            rm -rf jars classes && mkdir jars classes
            (cd jars && apt-get -qq -o APT::Sandbox::User=root download libmariadb-java junit4 libhamcrest-java \
                libjna-java libjna-platform-java liblogback-java libslf4j-java) >&2 || fail "apt-get cannot download the jars"
            for package in jars/*.deb; do
                dpkg-deb -x "$package" jars
            done
            find src/src/test/java -name '*.java' >sources
            javac -nowarn -proc:none -encoding UTF-8 -cp 'jars/usr/share/java/*' -d classes @sources \
                "$HERE/suites/mariadb-java/Listing.java" >build.log 2>&1 || fail "$(tail -n 1 build.log)"
            touch classes/built
        fi
        echo "$version"
        ;;
    run)
        # Those of failover want several servers, and to break them.
        classes="$(cd src/src/test/java && find . -name '*Test.java' ! -path '*/failover/*' ! -name 'BaseTest.java' \
            ! -name 'Gigantic*' | sort | sed 's|^\./||; s|\.java$||; s|/|.|g')"
        cd src
        export TEST_DB_HOST="$HOST" TEST_DB_PORT="$PORT" TEST_DB_USER="$DBUSER" TEST_DB_PASSWORD="$DBPASSWORD" \
            TEST_DB_DATABASE="$SCHEMA" TEST_DB_OTHER=
        # shellcheck disable=SC2086
        java -Dlogback.statusListenerClass=ch.qos.logback.core.status.NopStatusListener \
            -cp '../classes:src/test/resources:../jars/usr/share/java/*' Listing $classes >../java.log 2>&1
        cat ../java.log
        results lines <../java.log
        ;;
esac
