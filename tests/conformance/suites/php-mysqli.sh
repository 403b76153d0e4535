# PHP's mysqli: the .phpt files of Debian's source package, run by the machine's PHP.
# shellcheck source-path=SCRIPTDIR source=php.sh
source "$HERE/suites/php.sh"

php_suite "$1" ext/mysqli/tests
