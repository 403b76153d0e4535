# DBD::mysql: connections, statements of both kinds, every attribute of a handle.
# shellcheck source-path=SCRIPTDIR source=../common.sh
source "$HERE/common.sh"

perl_suite "$1" libdbd-mysql-perl DBD::mysql mysql
