# PHP's pdo_mysql: the .phpt files of Debian's source package, and those of PDO that every driver runs.
# shellcheck source-path=SCRIPTDIR source=php.sh
source "$HERE/suites/php.sh"

php_suite "$1" ext/pdo_mysql/tests
