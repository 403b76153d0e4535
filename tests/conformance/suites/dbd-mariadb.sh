# DBD::MariaDB: like its elder brother, and stricter about character sets.
# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

perl_suite "$1" libdbd-mariadb-perl DBD::MariaDB MariaDB
